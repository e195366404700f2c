"""`notifier test`: the tests that stand beside definitions in YAML files."""

from pathlib import Path

import click


@click.command()
@click.option(
    "-f",
    "--file",
    "path",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="A YAML file, or a folder of them.",
)
def test(path: Path) -> int:
    """Try the tests of definition files, without a broker, a database, a key or any secret.

    Exit 1 when a test fails or there is none, 2 when the files do not fit.

    \b
    tests:
      - name: nobody hears of what is not done
        message: {producer: ci, receiver: alice, content: "wip: half"}
        expect: {dropped_by: no-wip}
      - name: alice hears of a failed build
        message: {producer: ci, receiver: alice, content: build failed}
        at: "2026-11-30T10:00:00Z"
        expect: [{recipient: alice, consumer: team-chat}]
    """
    return 0 if all_pass(path) else 1


def all_pass(path: Path, *, may_be_none: bool = False) -> bool:
    """Tries the tests of files and prints what they say; whether all passed. `may_be_none`: also where there are none."""
    from control_api.file_tests.running import run_tests

    outcomes = run_tests(path)
    for outcome in outcomes:
        word = click.style("ok  ", fg="green") if outcome.passed else click.style("FAIL", fg="red")
        click.echo(f"{word}  {outcome.test.name}" + ("" if outcome.passed else f" ({outcome.test.place})"))
        for line in outcome.why:
            click.echo(f"      {line}")
    failed = sum(not outcome.passed for outcome in outcomes)
    if outcomes:
        click.echo(f"{len(outcomes) - failed} passed, {failed} failed")
    else:
        click.echo(f"there are no tests in {path}")
    return not failed and (bool(outcomes) or may_be_none)
