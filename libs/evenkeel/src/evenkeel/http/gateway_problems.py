"""Problems that the gateway answers instead of a service. They are here for OpenAPI documents; no service raises them.

gateway/listeners.yaml holds the answers themselves.
"""

from evenkeel.http.problems import Problem


class BadRequest(Problem):
    slug, title, status = "bad-request", "The request is not valid HTTP", 400


class Unauthorized(Problem):
    slug, title, status = "unauthorized", "A valid access token is needed", 401


class Forbidden(Problem):
    slug, title, status = "forbidden", "The access token does not allow this", 403


class ForeignPage(Problem):
    slug, title, status = "foreign-page", "Web pages of another origin may not ask", 403


class RequestTimeout(Problem):
    slug, title, status = "request-timeout", "The request did not arrive in time", 408


class MisdirectedRequest(Problem):
    slug, title, status = "misdirected-request", "The gateway does not go by that name", 421


class TooManyRequests(Problem):
    slug, title, status = "too-many-requests", "Too many requests", 429


class HeadersTooLarge(Problem):
    slug, title, status = "headers-too-large", "The request's headers are too large", 431


class BadGateway(Problem):
    slug, title, status = "bad-gateway", "The service's answer is not valid HTTP", 502


class GatewayTimeout(Problem):
    slug, title, status = "gateway-timeout", "The service did not answer in time", 504


class TooManyStreams(Problem):
    """For event streams, exports and imports only."""

    slug, title, status = "too-many-streams", "Too many streams are open", 503


OF_EVERY_ROUTE: tuple[type[Problem], ...] = (
    BadRequest,
    Unauthorized,
    Forbidden,
    ForeignPage,
    RequestTimeout,
    MisdirectedRequest,
    TooManyRequests,
    HeadersTooLarge,
    BadGateway,
    GatewayTimeout,
)
