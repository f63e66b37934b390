"""A wrong configuration: one message with the file, the path in it, and what to write instead."""

import socket
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.commands import farebox, service

GOOD = """\
database: sqlite:///farebox.db
upstreams:
  openai: {preset: openai, base_url: "http://127.0.0.1:9/v1", api_key: sk-in-the-file}
models:
  - {match: "*", upstream: openai}
teams:
  - {name: search, budgets: [{limit_usd: 5, window: month}]}
keys:
  - {name: search-key, team: search, key: fb-sk-in-the-file-of-the-search-team}
"""


@dataclass(frozen=True, slots=True)
class Wrong:
    """A change that makes the file wrong, and what has to be said of it."""

    old: str
    new: str
    line: int
    says: tuple[str, ...]
    variables: dict[str, str] = field(default_factory=dict)


WRONG = {
    "an unknown field": Wrong(
        "preset: openai,",
        "perset: openai,",
        3,
        ("upstreams.openai.perset", "did you mean preset"),
    ),
    "an unknown section": Wrong("teams:", "loging: {}\nteams:", 6, (" loging: ", "logging")),
    "a bad type": Wrong(
        "limit_usd: 5", "limit_usd: lots", 7, ("teams[0].budgets[0].limit_usd", "'lots'")
    ),
    "a bad word": Wrong("window: month", "window: moon", 7, ("budgets[0].window", "month")),
    "a missing variable": Wrong(
        "sk-in-the-file}",
        '"${OPENAI_API_KEY}"}',
        3,
        ("upstreams.openai.api_key", "OPENAI_API_KEY", "${OPENAI_API_KEY:-"),
    ),
    "an unknown upstream": Wrong(
        "upstream: openai", "upstream: opnai", 5, ("models[0].upstream", "'opnai'", "openai")
    ),
    "an unknown team": Wrong(
        "team: search,", "team: saerch,", 9, ("keys[0].team", "'saerch'", "search")
    ),
    "no YAML": Wrong("models:", "models: [", 5, ()),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_wrong_file_is_told_with_place_and_remedy(
    tmp_path: Path, name: str, command: str
) -> None:
    """Exit code 2, one line on stderr, nothing on stdout, no traceback, no secret."""
    wrong = WRONG[name]
    assert wrong.old in GOOD
    file = tmp_path / "farebox.yaml"
    file.write_text(GOOD.replace(wrong.old, wrong.new))

    done = farebox(command, "--config", str(file), cwd=tmp_path, changes=wrong.variables)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"farebox: {file}:{wrong.line}: ")
    assert done.stderr.count("\n") == 1
    for said in wrong.says:
        assert said in done.stderr
    assert "in-the-file" not in done.stderr


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """Who mends a file should not have to start Farebox once for each mistake in it."""
    file = tmp_path / "farebox.yaml"
    text = GOOD
    for name in ("an unknown field", "a bad type", "an unknown upstream"):
        text = text.replace(WRONG[name].old, WRONG[name].new)
    file.write_text(text)

    done = farebox("check", "--config", str(file), cwd=tmp_path)

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) >= 4
    for line in (3, 5, 7):
        assert f"{file}:{line}: " in done.stderr


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Named on the command line, or by the environment."""
    file = tmp_path / "nowhere.yaml"
    for command in ("check", "serve", "budgets"):
        arguments = [command, *(["list"] if command == "budgets" else [])]
        named = farebox(*arguments, "--config", str(file), cwd=tmp_path)
        from_environment = farebox(*arguments, cwd=tmp_path, changes={"FAREBOX_CONFIG": str(file)})

        for done in (named, from_environment):
            assert (done.returncode, done.stdout) == (2, "")
            assert f"{file}: there is no such file" in done.stderr
            assert "--config" in done.stderr


def test_a_wrong_variable_is_told_by_its_name(tmp_path: Path) -> None:
    """The environment wins over the file, so its mistakes are told as its own."""
    (tmp_path / "farebox.yaml").write_text(GOOD)
    for variable, value, said in [
        ("FAREBOX_LEDGER__UNAVAILABLE", "perhaps", "reject"),
        ("FAREBOX_LEGDER__UNAVAILABLE", "allow", "FAREBOX_LEDGER__UNAVAILABLE"),
        ("FAREBOX_SERVER__PORT", "http", "port"),
    ]:
        done = farebox("check", cwd=tmp_path, changes={variable: value})

        assert done.returncode == 2
        assert f"environment variable {variable}" in done.stderr
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_bad_option_is_told(tmp_path: Path) -> None:
    """As every command line does: what is wrong, and exit code 2."""
    for said, arguments in (
        ("'--port'", ["serve", "--port", "x"]),
        ("--wrokers", ["serve", "--wrokers", "2"]),
        ("'sreve'", ["sreve"]),
    ):
        done = farebox(*arguments, cwd=tmp_path)

        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert said in done.stderr


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    """Exit code 1: the configuration is right, and something is in the way."""
    (tmp_path / "farebox.yaml").write_text(GOOD)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for more in ([], ["--workers", "2"], ["--demo"]):
            done = farebox("serve", "--port", port, *more, cwd=tmp_path)

            assert (done.returncode, done.stdout) == (1, "")
            assert f"127.0.0.1:{port}" in done.stderr
            assert "in use" in done.stderr
            assert "--port" in done.stderr
            assert done.stderr.count("\n") == 1


def test_an_address_that_is_not_ours_is_told(tmp_path: Path) -> None:
    """Also a name that nobody knows."""
    (tmp_path / "farebox.yaml").write_text(GOOD)
    for host in ("203.0.113.1", "no-such-host.invalid"):
        done = farebox("serve", "--port", "0", "--host", host, cwd=tmp_path)

        assert (done.returncode, done.stdout) == (1, "")
        assert host in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("more", [[], ["--workers", "2"]])
def test_a_start_that_fails_is_told_and_ends(tmp_path: Path, more: list[str]) -> None:
    """What is seen only on the start, a database that can't be made, ends it with exit code 1."""
    (tmp_path / "file").write_text("not a folder")
    text = GOOD.replace("sqlite:///farebox.db", "sqlite:///file/farebox.db")
    (tmp_path / "farebox.yaml").write_text(text)

    done = farebox("serve", "--port", "0", *more, cwd=tmp_path)

    assert done.returncode == 1
    assert "file/farebox.db" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


def test_a_certificate_that_is_not_there_is_told(tmp_path: Path) -> None:
    """By its place in the configuration; ``check`` tells it among the rest."""
    text = GOOD.replace('"http://127.0.0.1:9/v1"', '"https://127.0.0.1:9/v1", ca_file: no.pem')
    (tmp_path / "farebox.yaml").write_text(text)

    served = farebox("serve", "--port", "0", cwd=tmp_path)
    checked = farebox("check", "--format", "csv", cwd=tmp_path)

    assert served.returncode == 2
    assert "upstreams.openai.ca_file: there is no file no.pem" in served.stderr
    assert checked.returncode == 1
    assert "upstream openai,problem" in checked.stdout


def test_a_good_file_is_served(tmp_path: Path) -> None:
    """Without that, everything above would pass for the wrong reason."""
    (tmp_path / "farebox.yaml").write_text(GOOD)
    with service(tmp_path) as running:
        assert running.stop() == 0
    assert running.stderr.read_text() == ""
