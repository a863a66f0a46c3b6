"""``headwater cluster``: what rpk says about a cluster, of a directory."""

import typer

from headwater.cli.options import DATA, Data, Output, opened
from headwater.cli.output import show

app = typer.Typer(no_args_is_help=True, help="Say what there is in the directory.")


@app.command()
def info(data: Data = DATA, output: Output = None) -> None:
    """Say which directory this is, and how much is in it."""
    with opened(data) as broker:
        described = [broker.describe_partitions(name) for name in broker.topics()]
        row = {
            "directory": broker.path,
            "topics": len(described),
            "partitions": sum(map(len, described)),
            "records": sum(one.high_watermark - one.log_start_offset for topic in described for one in topic),
            "size": sum(one.size for topic in described for one in topic),
            "groups": len(broker.groups()),
        }
    show([row], output)
