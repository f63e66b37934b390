"""Who is logged in: a signed cookie, and nothing kept on the server.

Any worker of any replica with the same admin token reads it. The key that signs follows from that
token, so that a new token ends every session.
"""

import base64
import binascii
import hmac
import json
import secrets
from dataclasses import asdict, dataclass
from hashlib import sha256

LASTS_S = 12 * 3600
LOGIN_LASTS_S = 3600  # how long a login form may lie open
_VERSION = "1"


@dataclass(frozen=True, slots=True)
class Session:
    """What the cookie says. ``key_id`` is "" for the administrator."""

    until_s: int
    nonce: str
    key_id: str = ""
    key_proof: str = ""  # of the secret that was shown: a rotation ends the session

    @property
    def is_admin(self) -> bool:
        """Whether the admin token was shown."""
        return not self.key_id


class Signer:
    """Signs and reads sessions under one admin token."""

    def __init__(self, admin_token: str) -> None:
        self._key = hmac.digest(b"farebox ui", admin_token.encode(), "sha256")

    def session(self, now_s: float, *, key_id: str = "", secret_hash: str = "") -> Session:
        """A session that begins now: of the administrator, or of whoever showed a key."""
        proof = self.key_proof(secret_hash) if key_id else ""
        return Session(int(now_s) + LASTS_S, secrets.token_urlsafe(16), key_id, proof)

    def key_proof(self, secret_hash: str) -> str:
        """What a session keeps of the hash of a secret: it tells two secrets apart, and no more."""
        return self._mac("key", secret_hash)

    def seal(self, session: Session) -> str:
        """The session as the value of a cookie."""
        text = base64.urlsafe_b64encode(json.dumps(asdict(session)).encode()).decode().rstrip("=")
        return f"{_VERSION}.{text}.{self._mac('session', text)}"

    def read(self, cookie: str, now_s: float) -> Session | None:
        """The session of a cookie; None where it is not ours, altered or over."""
        version, _, rest = cookie.partition(".")
        text, _, mac = rest.partition(".")
        if version != _VERSION or not _same(mac, self._mac("session", text)):
            return None
        try:
            padded = text + "=" * (-len(text) % 4)
            session = Session(**json.loads(base64.urlsafe_b64decode(padded)))
        except (ValueError, TypeError, binascii.Error):  # signed by another version of Farebox
            return None
        return session if session.until_s > now_s else None

    # Forms

    def form_token(self, session: Session) -> str:
        """What each form of a session carries, so that no other site can send it."""
        return self._mac("form", session.nonce)

    def is_form_token(self, session: Session, shown: str) -> bool:
        """Whether a form carries it."""
        return _same(shown, self.form_token(session))

    def new_login(self, now_s: float) -> str:
        """The cookie of a login form: before there is a session, it is what the form is bound to."""
        text = f"{int(now_s) + LOGIN_LASTS_S}-{secrets.token_urlsafe(16)}"
        return f"{text}.{self._mac('login', text)}"

    def login_token(self, cookie: str) -> str:
        """What the form carries beside that cookie."""
        return self._mac("login form", cookie)

    def is_login(self, cookie: str, shown: str, now_s: float) -> bool:
        """Whether a login form was given out by us to this browser, not too long ago."""
        text, _, mac = cookie.partition(".")
        until, _, _ = text.partition("-")
        ours = _same(mac, self._mac("login", text)) and _same(shown, self.login_token(cookie))
        return ours and until.isdigit() and int(until) > now_s

    def _mac(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}\0{text}".encode(), sha256).hexdigest()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
