"""The bookshop: one table, read through evenkeel.cache by any number of replicas."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from typing import Annotated, TypedDict

import asyncpg
from books import Books, loader
from fastapi import Depends, FastAPI, Header, Path, Request, Response
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, Field
from settings import Settings

from evenkeel.cache import ChangeLog, KeyRing, LoadError, Memory, Metrics, SharedRedis, open_cache
from evenkeel.cache.cache_status import render
from evenkeel.http.etags import etag
from evenkeel.http.problems import NotFound, Unavailable, responses
from evenkeel.redis import connect
from evenkeel.service.application import create_application
from evenkeel.service.readiness import Readiness
from evenkeel.service.settings import load


class State(TypedDict):
    readiness: Readiness
    books: Books


def create_app(settings: Settings) -> FastAPI:
    registry = CollectorRegistry()
    database_url = settings.database_url.get_secret_value()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with AsyncExitStack() as stack:
            pool = await stack.enter_async_context(asyncpg.create_pool(database_url, min_size=1, max_size=10))
            # Reads that wait for a connection must not keep the change log from one.
            for_log = await stack.enter_async_context(asyncpg.create_pool(database_url, min_size=1, max_size=3))
            redis = connect(settings.cache_url.get_secret_value(), name="bookshop", timeout=0.5)
            stack.push_async_callback(redis.aclose)
            cache = await stack.enter_async_context(
                open_cache(
                    "book",
                    load=loader(pool),
                    changes=ChangeLog(for_log, table="books", log="book_changes"),
                    memory=Memory(prepare=lambda _: None),
                    redis=SharedRedis(redis, KeyRing.from_text(settings.cache_keys.get_secret_value())),
                    metrics=Metrics(registry),
                )
            )

            async def postgresql() -> None:
                await pool.fetchval("SELECT 1 FROM books LIMIT 1")

            yield State(readiness=Readiness({"postgresql": postgresql}), books=Books(pool, cache))

    app = create_application(
        title="bookshop",
        description="Books and their prices.",
        version="1",
        lifespan=lifespan,
        replica=settings.replica_name,
        registry=registry,
    )
    app.add_exception_handler(LoadError, postgresql_fails)
    _add_routes(app)
    return app


async def postgresql_fails(_request: Request, _error: Exception) -> Response:
    return Unavailable("PostgreSQL does not answer.").response()


class NewBook(BaseModel):
    title: str = Field(min_length=1, max_length=200)
    price: Decimal = Field(ge=0, max_digits=8, decimal_places=2)


async def books_of(request: Request) -> Books:
    books: Books = request.state.books
    return books


Shelf = Annotated[Books, Depends(books_of)]
Isbn = Annotated[str, Path(pattern=r"^\d{13}$")]


def _add_routes(app: FastAPI) -> None:
    @app.get("/books/{isbn}", responses=responses(NotFound, Unavailable))
    async def read_book(isbn: Isbn, books: Shelf, min_version: Annotated[int, Header()] = 0) -> Response:
        answer = await books.read(isbn, min_version=min_version)
        if not answer.entry.exists:
            raise NotFound("There is no such book.")
        body = b'{"source":"%b","data":%b}' % (answer.source.encode(), answer.entry.payload)
        headers = {"ETag": etag(answer.entry.version), "Cache-Status": render(answer.statuses)}
        return Response(body, headers=headers, media_type="application/json")

    @app.put("/books/{isbn}", responses=responses(Unavailable))
    async def put_book(isbn: Isbn, book: NewBook, books: Shelf) -> dict[str, str | int]:
        return {"isbn": isbn, "version": await books.put(isbn, book.title, book.price)}


app = create_app(load(Settings))
