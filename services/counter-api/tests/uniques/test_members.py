from counter_api.uniques.members import MemberHash


def test_a_hash_depends_on_key_name_and_member() -> None:
    ours, theirs = MemberHash(b"u" * 32), MemberHash(b"v" * 32)
    hashes = [ours("a", "x"), ours("a", "y"), ours("b", "x"), theirs("a", "x"), ours("a:", "x")]
    assert len(set(hashes)) == len(hashes)
    assert ours("a", "x") == MemberHash(b"u" * 32)("a", "x")
