"""schemathesis reads the OpenAPI document and attacks a running daemon with it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from quarterdeck import errors
from quarterdeck.daemon.http.openapi import document
from quarterdeck.daemon.http.v1 import OPERATIONS

from .running import Daemon

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("d"), max_wait_s=0.2) as daemon:
        daemon.submit(daemon.upload(), 5)
        yield daemon


API = schemathesis.openapi.from_dict(document())
# Not through schemathesis's own parametrize: its plugin (4.32) does not run under pytest 9.2.
ROUTES = [(method, path) for path, methods in document()["paths"].items() for method in methods]


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[f"{method} {path}" for method, path in ROUTES])
def test_the_api_keeps_its_word(daemon: Daemon, method: str, path: str) -> None:
    headers = {"Authorization": f"Bearer {daemon.token()}"}

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(case=API[path][method.upper()].as_strategy())
    def attack(case: schemathesis.Case) -> None:
        if isinstance(case.query, dict) and "follow" in case.query:
            case.query["follow"] = "false"  # a stream without end has no end to check
        case.call_and_validate(base_url=daemon.url(), headers=headers, checks=CHECKS, timeout=10)

    attack()


def test_every_error_of_the_tree_is_in_the_document_or_never_sent() -> None:
    """An operation documents each status that its errors have, and 401, 500 and 503 everywhere."""
    paths = document()["paths"]
    for operation in OPERATIONS:
        told = paths[operation.path][operation.method.lower()]["responses"]
        for error in (*operation.errors, errors.Unauthenticated, errors.StoreUnavailable, errors.QuarterdeckError):
            assert f"`{error.code}`" in told[str(error.status)]["description"], (operation.id, error.code)


def test_the_document_is_served_and_is_openapi_3_1(daemon: Daemon) -> None:
    served = daemon.http.get("/v1/openapi.json")
    assert served.json() == document()
    assert served.json()["openapi"] == "3.1.0"


def test_answers_do_not_depend_on_the_transport(daemon: Daemon) -> None:
    headers = {"Authorization": f"Bearer {daemon.token()}"}
    over_tcp = httpx.get(daemon.url() + "/v1/tasks", headers=headers, trust_env=False)
    assert over_tcp.json() == daemon.http.get("/v1/tasks").json()
