"""Wiring: every part of a running Farebox, made and joined here and nowhere else."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog

from proxy.admin.deps import AdminDeps
from proxy.app.data_path import Made, gateway_config
from proxy.app.later import Asgi, Later
from proxy.app.opening import Opening, Step
from proxy.app.reload import watch_file
from proxy.app.remembering import recall, remember
from proxy.core.alerts import Watched
from proxy.core.call import CallFinished
from proxy.core.errors import ConfigurationError, LedgerError
from proxy.gateway.config import Upstream
from proxy.gateway.models import Models
from proxy.gateway.own_calls import OwnCalls
from proxy.gateway.pipeline import Pipeline, Ports
from proxy.gateway.realtime.door import Realtime
from proxy.gateway.routes import Routes
from proxy.ledger.opening import open_ledger, spool_folder
from proxy.observe.alerts import Alerting
from proxy.observe.defects import log_unhandled
from proxy.observe.logs import Logs
from proxy.observe.metrics import Metrics
from proxy.observe.page import MetricsPage
from proxy.observe.tracing import Place, Tracing, open_tracing
from proxy.observe.workers import Workers
from proxy.settings import Settings, changed, needs_restart
from proxy.store import migrate
from proxy.store.alerts import AlertQueue
from proxy.store.audits import Audits
from proxy.store.clock import now_us
from proxy.store.engine import Database, DatabaseAway
from proxy.store.keys import KeyStore
from proxy.store.latency import Latencies
from proxy.store.objects import ObjectStore
from proxy.store.price_data import PriceData
from proxy.store.price_rules import rules_from
from proxy.store.pricebook import LayeredPriceBook
from proxy.store.records import Records
from proxy.store.vocabulary import Vocabulary
from proxy.ui.deps import UiDeps

_log = structlog.get_logger("farebox")
_KEYS_EVERY_S = 1.0  # a revocation reaches every process within this time


class House:
    """One process of Farebox, from ``start`` to ``stop``."""

    def __init__(self, settings: Settings, *, metrics_folder: Path | None = None) -> None:
        self.settings = settings
        self._made_from: dict[str, Made] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.metrics = Metrics(max_label_sets=settings.metrics.max_label_sets)
        self._workers = Workers(metrics_folder, self.metrics) if metrics_folder else None
        self.logs = Logs(settings.logging.format, settings.logging.level)
        self.database = Database(settings.database)
        self.ledger = open_ledger(self.database, settings.ledger, self.metrics.ledger_committed)
        self.keys = KeyStore(
            self.database, settings.core_teams(), settings.accept_provider_keys, synced=False
        )
        self.objects = ObjectStore(self.database)
        self._price_data = PriceData.load()
        self.tokenizer = Vocabulary()
        self._tracing: Tracing | None = None
        self._opening = Opening(self._steps())

    async def start(self) -> None:
        """Bring up everything; raises FareboxError where that is not possible.

        Where only the database is away, all the rest is up, and goes on without it.
        """
        asyncio.get_running_loop().set_exception_handler(log_unhandled)
        config, self._made_from = gateway_config(self.settings, self._prices(self.settings), {})
        ports = Ports(
            self.ledger,
            self.objects,
            self.keys,
            self.tokenizer,
            self._observe,
            self.metrics.refused,
        )
        self.pipeline = Pipeline(ports, config)
        folder = spool_folder(self.database, self.settings.ledger)
        recall(folder, self.pipeline.experience)
        self._run(remember(folder, self.pipeline.experience))
        self._tracing = open_tracing(self.settings.tracing, self._place)
        self.routes = Routes(
            self.pipeline,
            Models(self.pipeline, self.keys),
            OwnCalls(self.pipeline, self.keys, self.ledger),
        )
        self.realtime = Realtime(self.pipeline)
        self.admin = Later(self._make_admin)
        self.ui = Later(self._make_ui)
        self.metrics.watch(
            in_flight=lambda: self.pipeline.in_flight,
            ledger=lambda: self.ledger.stats,
        )
        if self._workers is not None:
            self._run(self._workers.write_forever())
        try:
            await self._opening.begin()
        except LedgerError as error:
            raise LedgerError(f"{self.settings.database_shown}: {error}") from error

    def _steps(self) -> Sequence[Step]:
        """What needs the database. The ledger comes last: from there on calls are taken."""
        return (
            lambda: migrate.make_folder(self.database),
            self.ledger.ping,
            lambda: migrate.upgrade(self.database),
            lambda: self.keys.sync(self.settings.keys),
            lambda: self.ledger.sync_budgets(self.settings.core_budgets()),
            self._start_ledger,
            self._keep_up,
        )

    async def _start_ledger(self) -> None:
        try:
            await self.ledger.start()
        except LedgerError as error:
            # The database did as it was told so far: it has no time, or went away again.
            raise DatabaseAway(str(error)) from error

    async def _keep_up(self) -> None:
        self._run(self._refresh_keys())
        self._run(self._alerting().forever())
        self._run(self.pipeline.polling.forever())

    async def abandon(self) -> None:
        """Close what a start that failed has opened: a thread that waits would keep the process."""
        await self._end_tasks()
        with contextlib.suppress(LedgerError):  # the start's own failure is the one to be told
            await self._close()
        # Its words are in the log; what the server adds has no place to go, and would go to stderr.
        logging.getLogger().addHandler(logging.NullHandler())

    def follow(self, path: Path, load: Callable[[], Settings]) -> None:
        """Reload the configuration whenever its file changes, or on SIGHUP."""
        self._run(watch_file(path, lambda: self._reload_from(load)))

    async def stop(self) -> None:
        """Let calls under way settle, then close everything. What could not settle is in the spool."""
        self.routes.stopping = self.realtime.stopping = True
        await self._end_tasks()
        await self.pipeline.ended()
        await self._close()

    async def _end_tasks(self) -> None:
        await self._opening.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _close(self) -> None:
        for _, upstream in self._made_from.values():
            await upstream.client.aclose()
        await self.ledger.stop()
        await self.objects.close()
        self.tokenizer.close()
        await self.database.close()
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)
        self.logs.close()

    # Reload

    async def _reload_from(self, load: Callable[[], Settings]) -> bool:
        """Whether that is settled; False where it is worth another try."""
        try:
            settings = load()
            await self.reload(settings)
        except ConfigurationError as error:
            # Closed: a wrong file changes nothing; the last good configuration stays in force.
            _log.error("configuration_not_reloaded", problem=str(error))
        except LedgerError as error:
            _log.error("configuration_not_reloaded", problem=str(error))
            return False
        return True

    async def reload(self, settings: Settings) -> None:
        """Swap the configuration whole; calls under way keep the one they started with."""
        paths = changed(self.settings, settings)
        if not paths:
            return
        if stuck := needs_restart(paths):
            _log.warning("configuration_needs_restart", settings=list(stuck))
        config, made_from = gateway_config(settings, self._prices(settings), self._made_from)
        # First what can fail: then all of it is done again, and nothing is half in force.
        await self.ledger.sync_budgets(settings.core_budgets())
        await self.keys.sync(settings.keys)
        self.keys.use(settings.core_teams(), settings.accept_provider_keys)
        retired = [
            (wanted, upstream)
            for name, (wanted, upstream) in self._made_from.items()
            if name not in made_from or made_from[name][1] is not upstream
        ]
        self.pipeline.config, self.settings, self._made_from = config, settings, made_from
        for wanted, upstream in retired:
            self._run(self._retire(upstream, wanted.total_timeout_s))
        _log.info("configuration_reloaded", changed=list(paths))

    async def _retire(self, upstream: Upstream, longest_s: float) -> None:
        """Close an upstream's connections when no call can use them any more."""
        with contextlib.suppress(asyncio.CancelledError):  # the house stops: at once then
            await asyncio.sleep(longest_s)
        await upstream.client.aclose()

    # Parts

    def _prices(self, settings: Settings) -> LayeredPriceBook:
        return LayeredPriceBook(rules_from(settings.prices), self._price_data)

    def _observe(self, event: CallFinished) -> None:
        self.metrics.call_finished(event)
        self.logs.call_finished(event)
        if self._tracing is not None:
            self._tracing.call_finished(event)

    def _place(self, upstream: str) -> Place:
        """Where an upstream is; a reload may have taken it away meanwhile."""
        found = self.pipeline.config.upstreams.get(upstream)
        return Place(found.provider, found.host) if found else Place("", "")

    async def make_pages(self) -> None:
        """Have the admin API and the web page ready."""
        await self.admin.made()
        await self.ui.made()

    def _make_admin(self) -> Asgi:
        from proxy.admin.api import create_admin  # noqa: PLC0415 - see Later

        return create_admin(self._admin_deps())

    def _make_ui(self) -> Asgi:
        from proxy.ui.application import create_ui  # noqa: PLC0415 - see Later

        return create_ui(self._ui_deps())

    def _admin_deps(self) -> AdminDeps:
        return AdminDeps(
            ledger=self.ledger,
            keys=self.keys,
            records=Records(self.database),
            metrics=MetricsPage(
                self.metrics,
                self.ledger.budgets,
                self._workers,
                version=version("farebox"),
                database="sqlite" if self.database.is_sqlite else "postgresql",
            ),
            settings=lambda: self.settings,
            settled=self.pipeline.settled,
            ready=self._not_ready,
        )

    def _alerting(self) -> Alerting:
        return Alerting(
            lambda: self.settings.alerts, self._watched, AlertQueue(self.database), now_us
        )

    async def _watched(self) -> list[Watched]:
        return [
            Watched(view.budget, w.subject, w.starts_at, w.resets_at, w.spent_nano, w.held_nano)
            for view in await self.ledger.budgets()
            for w in view.windows
        ]

    def _ui_deps(self) -> UiDeps:
        return UiDeps(
            ledger=self.ledger,
            keys=self.keys,
            records=Records(self.database),
            latencies=Latencies(self.database),
            audits=Audits(self.database),
            settings=lambda: self.settings,
            settled=self.pipeline.settled,
        )

    async def _not_ready(self) -> str:
        """Why this process should get no calls; "" where it should.

        Where calls go on without the database (``ledger.unavailable: allow``), its being away is no
        reason: an orchestrator would take every replica out, and undo that decision.
        """
        if self._opening.reason:
            return f"ledger: {self._opening.reason}"
        allows = self.ledger.allows_outages
        try:
            await self.ledger.ping()
            if not await migrate.is_current(self.database):
                return "migrations are not current"
        except LedgerError as error:
            return "" if allows else f"ledger: {error}"
        if allows or self.ledger.stats.available:
            return ""
        return "ledger: the database answers, but takes no transaction in time; calls are refused"

    async def _refresh_keys(self) -> None:
        while True:
            await asyncio.sleep(_KEYS_EVERY_S)
            try:
                await self.keys.refresh()
            except LedgerError as error:
                _log.warning("keys_not_refreshed", problem=str(error))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)
