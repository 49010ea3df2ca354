"""`watchdog schema`: JSON Schemas of the three kinds of file that people write, for their editors."""

from __future__ import annotations

import typer

from watchdog.cli.failure import PoliteGroup
from watchdog.cli.help import epilog

schema = typer.Typer(
    cls=PoliteGroup,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Print JSON Schemas for editors.",
)


@schema.command(epilog=epilog("watchdog schema config > watchdog.schema.json", done="printed"))
def config() -> None:
    """Print the JSON Schema of the configuration file."""
    from watchdog.config.json_schema import config_schema, written

    typer.echo(written(config_schema()), nl=False)


@schema.command(epilog=epilog("watchdog schema rules > rules.schema.json", done="printed"))
def rules() -> None:
    """Print the JSON Schema of rule files."""
    from watchdog.config.json_schema import rules_schema, written

    typer.echo(written(rules_schema()), nl=False)


@schema.command(epilog=epilog("watchdog schema rule-tests > rule-tests.schema.json", done="printed"))
def rule_tests() -> None:
    """Print the JSON Schema of files with tests of rules."""
    from watchdog.config.json_schema import written
    from watchdog.lab.testfile_schema import tests_schema

    typer.echo(written(tests_schema()), nl=False)
