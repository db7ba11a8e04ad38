"""The Celery app, which ``anymodal worker`` runs."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from celery import Celery
from celery.loaders.app import AppLoader
from kombu import Queue

from workers.config import Settings, current_settings
from workers.jobs.shard import PRIORITIES, QUEUES


class SafeLoader(AppLoader):  # type: ignore[misc]  # Celery is not typed
    """Imports installed modules only; Celery's own loader puts the current folder first."""

    def import_from_cwd(
        self,
        module: str,
        imp: Any = None,  # noqa: ARG002
        package: str | None = None,
    ) -> ModuleType:
        return import_module(module, package)


def celery_config(settings: Settings) -> dict[str, object]:
    """Celery's settings for at-least-once delivery; the tasks' keys make the effect exactly-once.

    The visibility timeout exceeds the longest task, or the broker would start it twice. The quick
    restore sweep returns the tasks of a killed worker in seconds instead of minutes.
    """
    transport = {
        "visibility_timeout": settings.task_timeout_s + 60,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "priority_steps": sorted(PRIORITIES.values()),
        "socket_timeout": 30,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
    }
    return {
        "broker_url": settings.broker,
        "broker_transport_options": transport,
        "broker_connection_retry_on_startup": True,
        "task_default_queue": "anymodal",
        "task_queues": [Queue(name) for name in ["anymodal", *QUEUES]],
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_soft_time_limit": settings.task_timeout_s - 5,
        "task_time_limit": settings.task_timeout_s,
        "task_annotations": {"anymodal.run_shard": {"rate_limit": settings.rate_limit}},
        "worker_prefetch_multiplier": 1,
        # A shard continues while the broker is away: its lease, not its message, says who owns it.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_max_retries": None,
        "worker_proc_alive_timeout": 120,  # a child loads its model before it reports ready
        "worker_hijack_root_logger": False,
    }


app = Celery("anymodal", loader=SafeLoader, include=["workers.tasks"])
app.add_defaults(lambda: celery_config(current_settings()))
