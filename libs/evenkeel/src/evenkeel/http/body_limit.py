"""FastAPI's body limit as a problem document, because Starlette's own 413 is plain text."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evenkeel.http.problems import ContentTooLarge

STARLETTE_ANSWER = (b"content-type", b"text/plain; charset=utf-8")


class ContentTooLargeAnswers:
    """Plain ASGI: replaces a plain-text 413 by a problem document."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        replaced = False

        async def send_or_replace(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and message["status"] == 413:
                replaced = STARLETTE_ANSWER in message["headers"]
                if replaced:
                    await ContentTooLarge("Send a smaller body.").response()(scope, receive, send)
            if not replaced:
                await send(message)

        await self._app(scope, receive, send_or_replace)
