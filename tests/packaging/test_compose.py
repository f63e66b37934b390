"""The compose file is valid, and its parts fit each other and the files that they mount."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def services(root: Path) -> dict[str, dict[str, Any]]:
    """The services, with what they share merged in."""
    document = yaml.safe_load((root / "docker-compose.yml").read_text())
    found: dict[str, dict[str, Any]] = document["services"]
    return found


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Target of each volume to its source."""
    split = (volume.split(":") for volume in service.get("volumes", ()))
    return {target: source for source, target, *_ in split}


def test_the_file_is_what_compose_takes(root: Path) -> None:
    check = (str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec")
    checked = subprocess.run(
        [*check, str(root / "docker-compose.yml")],
        check=False,
        capture_output=True,
        text=True,
    )

    assert checked.returncode == 0, checked.stdout


def test_what_is_mounted_from_the_checkout_is_there(
    root: Path, services: dict[str, dict[str, Any]]
) -> None:
    sources = [source for s in services.values() for source in mounts(s).values()]

    assert [s for s in sources if s.startswith(".") and not (root / s).exists()] == []


def test_every_server_is_watched(services: dict[str, dict[str, Any]]) -> None:
    """Farebox's own check is in its image."""
    unwatched = {name for name, s in services.items() if "healthcheck" not in s}

    assert unwatched == {"farebox"}


def test_no_secret_has_a_default(root: Path) -> None:
    """Compose stops with a message where one is not set. A provider's key is the user's choice."""
    text = (root / "docker-compose.yml").read_text()
    secrets = re.findall(r"\$\{(\w*(?:PASSWORD|TOKEN)\w*)([^}]*)\}", text)

    assert secrets
    assert [name for name, default in secrets if not default.startswith(":?")] == []


def test_farebox_gets_no_rights_that_it_does_not_need(services: dict[str, dict[str, Any]]) -> None:
    farebox = services["farebox"]

    assert farebox["read_only"]
    assert farebox["cap_drop"] == ["ALL"]
    assert farebox["security_opt"] == ["no-new-privileges:true"]


def test_the_schema_is_migrated_before_anything_is_served(
    services: dict[str, dict[str, Any]],
) -> None:
    waits = services["farebox"]["depends_on"]

    assert waits["migrate"]["condition"] == "service_completed_successfully"
    assert services["migrate"]["command"][:2] == ["db", "upgrade"]


def test_nothing_but_the_proxy_is_offered_to_other_machines(
    services: dict[str, dict[str, Any]],
) -> None:
    """And the proxy only where it is asked for: its port is on the loopback interface, too."""
    ports = [port for s in services.values() for port in s.get("ports", ())]

    assert [port for port in ports if "127.0.0.1:" not in port] == []


def test_prometheus_reads_the_file_that_is_mounted(
    root: Path, services: dict[str, dict[str, Any]]
) -> None:
    prometheus = services["prometheus"]
    (option,) = [c for c in prometheus["command"] if c.startswith("--config.file=")]
    path = Path(option.partition("=")[2])
    source = mounts(prometheus)[str(path.parent)]

    assert (root / source / path.name).is_file()


def test_prometheus_finds_its_rules_beside_its_file(root: Path) -> None:
    """The folder is mounted whole, and their names are relative to it."""
    config = yaml.safe_load((root / "config/prometheus/prometheus.yml").read_text())
    found = {path.name for path in (root / "config/prometheus").glob("*.rules.yml")}

    assert set(config["rule_files"]) == found


def test_grafana_opens_a_dashboard_that_is_there(
    root: Path, services: dict[str, dict[str, Any]]
) -> None:
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]

    assert (root / "config/grafana/dashboards" / Path(home).name).is_file()


def test_prometheus_scrapes_every_replica(root: Path, services: dict[str, dict[str, Any]]) -> None:
    config = yaml.safe_load((root / "config/prometheus/prometheus.yml").read_text())
    (job,) = [job for job in config["scrape_configs"] if job["job_name"] == "farebox"]
    (discovered,) = job["dns_sd_configs"]
    (ports,) = services["farebox"]["ports"]

    assert discovered["names"] == ["farebox"]
    assert ports.endswith(f":{discovered['port']}")


def test_grafana_finds_its_databases_and_dashboards(
    root: Path, services: dict[str, dict[str, Any]]
) -> None:
    provisioning = root / "config/grafana/provisioning"
    found = [yaml.safe_load(p.read_text()) for p in (provisioning / "datasources").iterdir()]
    sources = [source for document in found for source in document["datasources"]]
    providers = yaml.safe_load((provisioning / "dashboards/farebox.yaml").read_text())
    mounted = mounts(services["grafana"])

    hosts = {source["url"].rpartition("//")[2].partition(":")[0] for source in sources}

    assert hosts <= services.keys()
    assert mounted["/etc/grafana/provisioning"] == "./config/grafana/provisioning"
    for provider in providers["providers"]:
        assert mounted[provider["options"]["path"]] == "./config/grafana/dashboards"


def test_the_reader_of_the_ledger_has_one_password(
    root: Path, services: dict[str, dict[str, Any]]
) -> None:
    """PostgreSQL is told the same as Grafana."""
    source = (root / "config/grafana/provisioning/datasources/ledger.yaml").read_text()
    script = (root / "config/grafana/reader.sh").read_text()
    given = [
        services[name]["environment"]["FAREBOX_READER_PASSWORD"] for name in ("postgres", "grafana")
    ]

    assert given[0] == given[1]
    assert "password: $FAREBOX_READER_PASSWORD" in source
    assert "$FAREBOX_READER_PASSWORD" in script
