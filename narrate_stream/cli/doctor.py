"""`narrate doctor`."""

from __future__ import annotations

import click


@click.command(short_help="Say what works on this machine.")
def doctor() -> None:
    """Say what works on this machine, and what to install for the rest; exit 0 if the core works."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from narrate_stream.doctor import core_works, examine

    findings = examine()
    colours = {"ok": "green", "missing": "yellow", "broken": "red", "note": "cyan"}
    table = Table(show_edge=False, pad_edge=False)
    for name in ("what", "state", "found", "for the rest"):
        table.add_column(name, overflow="fold")
    for f in findings:
        table.add_row(f.name, Text(f.state, colours[f.state]), Text(f.found), Text(f.advice))
    console = Console()
    console.print(table)
    works = core_works(findings)
    console.print("\nThe core works here." if works else "\nThe core does not work here yet: mend what is broken.")
    if not works:
        raise click.exceptions.Exit(1)
