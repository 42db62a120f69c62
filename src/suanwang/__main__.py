"""`python -m suanwang` is the command `suanwang`."""

from __future__ import annotations

from suanwang.cli.main import main

if __name__ == "__main__":
    main()
