"""The log's form: one event, one line."""

from __future__ import annotations

import logging

from suanwang.agent.journal import KeyValueFormatter


def line(message, exception=None, **fields):
    info = (type(exception), exception, None) if exception else None
    record = logging.LogRecord("suanwang.agent", logging.WARNING, "", 0, message, (), info)
    record.created, record.msecs = 0.25, 250
    if fields:
        record.fields = fields
    return KeyValueFormatter().format(record)


def test_an_event_is_a_line_of_keys_and_values():
    assert line("applied", revision=7, took_s=0.5, reason='no "route" = here\nor there', nothing="") == (
        "1970-01-01T00:00:00.250Z warning suanwang.agent applied revision=7 took_s=0.500 "
        'reason="no \\"route\\" = here\\nor there" nothing=""'
    )


def test_other_libraries_records_are_one_line_too():
    text = line("something\nhappened", ValueError("bad\nthing"))
    assert "\n" not in text
    assert 'message="something\\nhappened"' in text
    assert "ValueError" in text
