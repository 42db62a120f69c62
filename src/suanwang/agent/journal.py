"""The agent's log: one event a line, `time level event key=value …`, so that people and programs can both read it.

Only names, counts, codes and addresses are logged. Tokens, keys and whole certificates are never passed here.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time

_BARE = re.compile(r"[^\s\"=]+")


def value_text(value: object) -> str:
    """A value as it stands behind `key=`: bare when it has no spaces, quotes or equal signs, else as a JSON string."""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False)


class KeyValueFormatter(logging.Formatter):
    """One line a record, however many lines its message or its traceback has."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        head = f"{moment}.{int(record.msecs):03d}Z {record.levelname.lower()} {record.name}"
        fields = getattr(record, "fields", None)
        message = record.getMessage()
        body = [message if fields is not None else f"message={value_text(message)}"]
        body += [f"{key}={value_text(value)}" for key, value in (fields or {}).items()]
        if record.exc_info:
            body.append(f"traceback={value_text(self.formatException(record.exc_info))}")
        return " ".join([head, *body])


def event(logger: logging.Logger, level: int, name: str, **fields: object) -> None:
    """Log an event by its name and fields."""
    if logger.isEnabledFor(level):
        logger.log(level, name, extra={"fields": fields})


def start(level: int = logging.INFO) -> None:
    """Send this process's log to standard error in this form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(KeyValueFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Connection errors are reported once, by the agent, with their code.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
