"""Everything Quarterdeck raises on purpose.

Catch `QuarterdeckError` and you have caught every failure that was foreseen; the same tree is used by the daemon (which
turns it into HTTP) and by the client (which turns HTTP back into it).

QuarterdeckError               500 internal
  Remote                       500 remote                message
  BadRequest                   400 bad_request           why
  Unauthenticated              401 unauthenticated       why
  OverBudget                   402 over_budget           project, user, what, left, needed
  Forbidden                    403 forbidden             why
  NotFound                     404 not_found             noun, id
  MethodNotAllowed             405 method_not_allowed    method, allowed
  Conflict                     409 conflict              why
    IdempotencyMismatch        409 idempotency_mismatch  why, key
    NotReady                   409 not_ready             why, task, state
  TooLarge                     413 too_large             what, limit_bytes
  Invalid                      422 invalid               where, why
    BadProgram                 422 bad_program           where, why
      TooCostly                422 too_costly            where, why
  TooManyRequests              429 too_many_requests     why, retry_after_s, limit, allowed, used
  Unavailable                  503 unavailable           what, why, retry_after_s
    DeviceUnavailable          503 device_unavailable    what, why, retry_after_s
    StoreUnavailable           503 store_unavailable     what, why, retry_after_s
    DaemonUnreachable          503 daemon_unreachable    what, why, retry_after_s
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar


@dataclass(eq=False)
class QuarterdeckError(Exception):
    """Base of the tree. Raised itself only for a defect of ours: the message then says where to look."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    by_code: ClassVar[dict[str, type[QuarterdeckError]]] = {}

    def __init_subclass__(cls) -> None:
        QuarterdeckError.by_code[cls.code] = cls

    def __str__(self) -> str:
        return "something failed inside Quarterdeck; the daemon's log has the details"

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions pickle by `args`, which a dataclass leaves to chance; worker processes send these back.
        return (type(self), tuple(getattr(self, field.name) for field in fields(self)))

    def to_json(self) -> dict[str, Any]:
        """The body of the HTTP answer: `{"error": {"code", "status", "message", ...the class's own fields}}`."""
        return {"error": {"code": self.code, "status": self.status, "message": str(self), **asdict(self)}}

    @staticmethod
    def from_json(body: dict[str, Any], status: int = 500) -> QuarterdeckError:
        """The exception that an answer's body stands for; an unknown code becomes the base class's nearest kin."""
        told = body.get("error") if isinstance(body, dict) else None
        if not isinstance(told, dict):
            return Remote(f"the daemon answered {status} with a body that is not ours")
        cls = QuarterdeckError.by_code.get(str(told.get("code")))
        if cls is not None:
            try:
                return cls(**{field.name: told[field.name] for field in fields(cls)})
            except (KeyError, TypeError):
                pass
        return Remote(str(told.get("message", f"the daemon answered {status}")))


QuarterdeckError.by_code["internal"] = QuarterdeckError


@dataclass(eq=False)
class Remote(QuarterdeckError):
    """The daemon failed in a way this client has no class for (a newer daemon, or a defect)."""

    code: ClassVar[str] = "remote"
    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(eq=False)
class BadRequest(QuarterdeckError):
    """The request is not HTTP or JSON that can be read."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad_request"
    why: str

    def __str__(self) -> str:
        return self.why


@dataclass(eq=False)
class Unauthenticated(QuarterdeckError):
    """Nobody knows who is asking."""

    status: ClassVar[int] = 401
    code: ClassVar[str] = "unauthenticated"
    why: str

    def __str__(self) -> str:
        return self.why


@dataclass(eq=False)
class OverBudget(QuarterdeckError):
    """The budget does not bear the task beside those admitted before. `user` is empty if it is the whole project's.

    `left` is what no admitted task holds yet, `needed` what the task would take: device seconds or shots, as `what`
    says. Nothing was queued.
    """

    status: ClassVar[int] = 402
    code: ClassVar[str] = "over_budget"
    project: str
    user: str
    what: str
    left: float
    needed: float

    def __str__(self) -> str:
        whose = f"{self.user} in project {self.project}" if self.user else f"project {self.project}"
        if not self.needed:
            return f"{whose} has no {self.what} left"
        return f"{whose} has {self.left:,.6g} {self.what} left; this task would take about {self.needed:,.6g}"


@dataclass(eq=False)
class Forbidden(QuarterdeckError):
    """Known, but not allowed."""

    status: ClassVar[int] = 403
    code: ClassVar[str] = "forbidden"
    why: str

    def __str__(self) -> str:
        return self.why


@dataclass(eq=False)
class NotFound(QuarterdeckError):
    """No such thing, or it is another user's: the two are told apart for nobody."""

    status: ClassVar[int] = 404
    code: ClassVar[str] = "not_found"
    noun: str
    id: str

    def __str__(self) -> str:
        return f"no {self.noun} {self.id!r}"


@dataclass(eq=False)
class MethodNotAllowed(QuarterdeckError):
    """The route exists, the verb does not."""

    status: ClassVar[int] = 405
    code: ClassVar[str] = "method_not_allowed"
    method: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.method} is not possible here; try {self.allowed}"


@dataclass(eq=False)
class Conflict(QuarterdeckError):
    """The request is fine, the state of things is not."""

    status: ClassVar[int] = 409
    code: ClassVar[str] = "conflict"
    why: str

    def __str__(self) -> str:
        return self.why


@dataclass(eq=False)
class IdempotencyMismatch(Conflict):
    """The Idempotency-Key was used before with another body. Nothing was queued."""

    code: ClassVar[str] = "idempotency_mismatch"
    why: str
    key: str


@dataclass(eq=False)
class NotReady(Conflict):
    """The result was asked for before the task ended. Wait with `GET /v1/tasks/ID?wait=30`."""

    code: ClassVar[str] = "not_ready"
    why: str
    task: str
    state: str


@dataclass(eq=False)
class TooLarge(QuarterdeckError):
    """More bytes than the daemon takes. Reading stopped at the limit."""

    status: ClassVar[int] = 413
    code: ClassVar[str] = "too_large"
    what: str
    limit_bytes: int

    def __str__(self) -> str:
        return f"the {self.what} is larger than {self.limit_bytes} bytes"


@dataclass(eq=False)
class Invalid(QuarterdeckError):
    """A field has a wrong type or value. `where` is a JSON path such as `$.shots`. Nothing was queued."""

    status: ClassVar[int] = 422
    code: ClassVar[str] = "invalid"
    where: str
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.why}"


@dataclass(eq=False)
class BadProgram(Invalid):
    """The program cannot run on the device. `where` is a place in the program or the limit that it breaks."""

    code: ClassVar[str] = "bad_program"


@dataclass(eq=False)
class TooCostly(BadProgram):
    """The emulation would not end, or not fit into memory. `why` says what it would take. Nothing was started."""

    code: ClassVar[str] = "too_costly"


@dataclass(eq=False)
class TooManyRequests(QuarterdeckError):
    """Slow down: try again after `retry_after_s` seconds. `limit` names the limit: `used` of `allowed` are in use."""

    status: ClassVar[int] = 429
    code: ClassVar[str] = "too_many_requests"
    why: str
    retry_after_s: float
    limit: str = ""
    allowed: int = 0
    used: int = 0

    def __str__(self) -> str:
        return self.why


@dataclass(eq=False)
class Unavailable(QuarterdeckError):
    """Not now. `retry_after_s` is an honest guess, in seconds; 0 means that nobody knows."""

    status: ClassVar[int] = 503
    code: ClassVar[str] = "unavailable"
    what: str
    why: str
    retry_after_s: float

    def __str__(self) -> str:
        return f"{self.what} is unavailable: {self.why}"


@dataclass(eq=False)
class DeviceUnavailable(Unavailable):
    """The device does not answer. Queued tasks are held, none is lost."""

    code: ClassVar[str] = "device_unavailable"


@dataclass(eq=False)
class StoreUnavailable(Unavailable):
    """The store cannot make anything durable now, so nothing is acknowledged."""

    code: ClassVar[str] = "store_unavailable"


@dataclass(eq=False)
class DaemonUnreachable(Unavailable):
    """No daemon answers at the client's address. Start one with `qdeck serve`."""

    code: ClassVar[str] = "daemon_unreachable"
