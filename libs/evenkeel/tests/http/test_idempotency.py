"""What makes two keys the same."""

import itertools

from evenkeel.http.idempotency import RequestKey, fingerprint


def test_a_key_is_callers_methods_and_paths() -> None:
    keys = [RequestKey(*each) for each in itertools.product(["", "a", "b"], ["PUT", "POST"], ["/x", "/y"], ["k", "l"])]
    digests = {key.digest(*part) for key in keys for part in ((), (0,), (1,))}
    assert len(digests) == 3 * len(keys)
    assert {len(digest) for digest in digests} == {64}
    assert RequestKey("a", "PUT", "/x", "k").digest() == RequestKey("a", "PUT", "/x", "k").digest()


def test_where_one_part_ends_matters() -> None:
    assert fingerprint("a", "bc") != fingerprint("ab", "c")
    assert fingerprint(1, [2]) != fingerprint(1, 2)
    assert fingerprint("1") != fingerprint(1)
