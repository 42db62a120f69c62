"""`suanwang fabric design`: what a fabric needs and gives, by arithmetic from its declaration."""

from __future__ import annotations

import click

from suanwang.cli.session import current, output_option

FILE = click.Path(exists=True, dir_okay=False, allow_dash=True)


@click.command(
    epilog="""\b
Examples:
  suanwang fabric design --list
  suanwang fabric design --preset cmcc-61440 --derive
  suanwang fabric design examples/fabric/pod.yaml --prices examples/fabric/prices.yaml
  suanwang fabric design --preset supernode-1024 --latency -o json
FILE is a resource of kind Fabric, or a topology of htsim, SimAI, ns-3, containerlab or InfraGraph."""
)
@click.argument("file", type=FILE, required=False)
@click.option("--preset", metavar="NAME", help="a fabric to start from, instead of FILE")
@click.option("--prices", type=FILE, metavar="FILE", help="YAML: what items cost")
@click.option("--derive", is_flag=True, help="how the numbers come about, step by step")
@click.option("--latency", is_flag=True, help="latency budgets, with a source for each term")
@click.option("--list", "listed", is_flag=True, help="name the presets")
@output_option
def design(file: str | None, preset: str | None, prices: str | None, derive: bool, latency: bool, listed: bool) -> None:
    """What a fabric needs and gives: switches, cables, power and price; capacity, failure domains, latency."""
    from suanwang.cli import fabric_design_text as shown

    if listed:
        told = shown.preset_fields()
        current().emit(told, lambda: shown.presets_text(told))
        return
    if (file is None) == (preset is None):
        raise click.UsageError("name FILE or give --preset NAME; one of both. --list names the presets")
    from suanwang.fabric.design.opening import open_fabric, open_preset

    found = open_preset(preset) if preset is not None else open_fabric(file or "-")
    fields = shown.design_fields(found)
    if prices is not None:
        from suanwang.fabric.design.bill import bill
        from suanwang.fabric.design.pricing import account, read_prices

        fields["price"] = shown.price_fields(account(bill(found), read_prices(prices)))
    if derive:
        from suanwang.fabric.design.derivations import derivation

        fields["derivation"] = derivation(found)
    if latency:
        from suanwang.fabric.design.latency import budgets

        fields["latency"] = shown.latency_fields(budgets(found))
    current().emit(fields, lambda: shown.design_text(fields))
