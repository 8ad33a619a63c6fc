"""How pages look: light, dark, on paper, and on a phone."""

from __future__ import annotations

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1b1f24",
    "muted": "#57606a",
    "line": "#d0d7de",
    "panel": "#f6f8fa",
    "bad": "#b42318",
    "bad-panel": "#fef3f2",
    "warn": "#7a5200",
    "warn-panel": "#fff8e6",
    "group0": "#0066a6",
    "group1": "#c44e00",
    "group2": "#00805c",
    "group3": "#9c3f84",
    "group4": "#806200",
    "group5": "#56616c",
    "group6": "#b0203a",
    "group7": "#4a3db0",
}
DARK = {
    "paper": "#14171b",
    "ink": "#e6e8eb",
    "muted": "#a2abb5",
    "line": "#3a414a",
    "panel": "#1d2127",
    "bad": "#ff8a80",
    "bad-panel": "#3a1a18",
    "warn": "#f0c35a",
    "warn-panel": "#33290f",
    "group0": "#56b4e9",
    "group1": "#ff9450",
    "group2": "#33c79b",
    "group3": "#e08cc8",
    "group4": "#d9b93c",
    "group5": "#a8b4bf",
    "group6": "#ff8091",
    "group7": "#a99bff",
}
NARROW = 640  # CSS pixels; plots are drawn once for windows above it and once for those below


def _variables(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in colours.items())


def _groups() -> str:
    names = [name for name in LIGHT if name.startswith("group")]
    return "\n".join(
        f".{name}{{fill:var(--{name});stroke:var(--{name})}} .{name}.hollow{{fill:var(--paper)}}" for name in names
    )


STYLE = f"""
:root {{ color-scheme: light dark; {_variables(LIGHT)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)} }} }}
@media print {{ :root {{ color-scheme: light; {_variables(LIGHT)} }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: anywhere;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; }}
main {{ max-width: 1120px; margin: 0 auto; padding: 16px 16px 48px; }}
h1 {{ font-size: 26px; line-height: 1.2; margin: 16px 0 4px; }}
h2 {{ font-size: 19px; margin: 36px 0 8px; }}
h3 {{ font-size: 15px; margin: 20px 0 6px; }}
p {{ margin: 6px 0; max-width: 80ch; }}
a {{ color: var(--group0); }}
.muted, figcaption, small {{ color: var(--muted); }}
.problems {{ border: 1px solid var(--bad); border-left-width: 6px; background: var(--bad-panel); border-radius: 6px;
  padding: 8px 16px 12px; margin: 16px 0; }}
.problems h2 {{ color: var(--bad); margin: 4px 0; }}
.warnings {{ border-color: var(--warn); background: var(--warn-panel); }}
.warnings h2 {{ color: var(--warn); }}
.problems ul {{ margin: 0; padding-left: 20px; }}
.scroll {{ overflow-x: auto; margin: 8px 0; }}
table {{ border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 5px 8px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }}
th {{ font-weight: 600; }}
thead th {{ vertical-align: bottom; white-space: normal; overflow-wrap: normal; color: var(--muted); }}
tbody th, thead th:first-child {{ text-align: left; position: sticky; left: 0; background: var(--paper); }}
th .name {{ display: block; width: max-content; max-width: min(260px, 40vw); white-space: normal; }}
td.words, thead th.words {{ text-align: left; white-space: normal; }}
ul {{ padding-left: 20px; max-width: 100ch; }}
tr.model th, tr.model td {{ background: var(--panel); }}
tr.failed th, tr.failed td {{ color: var(--bad); text-align: left; }}
td small {{ display: block; }}
td.best {{ background: var(--panel); box-shadow: inset 0 -2px var(--group2); }}
.headline {{ font-size: 17px; }}
code {{ font-size: 0.94em; }}
thead button {{ all: inherit; display: inline; padding: 0; border: 0; position: static; cursor: pointer; }}
thead button:focus-visible {{ outline: 2px solid var(--group0); }}
thead button:hover {{ text-decoration: underline; }}
th[aria-sort="ascending"] button::after {{ content: " \25B2"; }}
th[aria-sort="descending"] button::after {{ content: " \25BC"; }}
.plots {{ display: flex; flex-wrap: wrap; gap: 8px 32px; }}
figure {{ margin: 8px 0; min-width: 0; }}
.plots figcaption {{ width: 0; min-width: 100%; }}
figcaption {{ font-size: 13px; max-width: 70ch; }}
svg {{ display: block; max-width: 100%; height: auto; overflow: visible; font: 12px system-ui, -apple-system,
  "Segoe UI", "Liberation Sans", Arial, sans-serif; }}
svg text {{ fill: var(--ink); }}
.ticks text, text.axis {{ fill: var(--muted); }}
text.axis {{ font-weight: 600; }}
text.label, text.reference {{ paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }}
text.reference {{ fill: var(--muted); font-style: italic; }}
path.grid {{ stroke: var(--line); fill: none; stroke-width: 0.6; }}
path.frame {{ stroke: var(--muted); fill: none; }}
path.reference {{ stroke: var(--muted); fill: none; stroke-dasharray: 5 4; }}
path.leader, path.joint, path.range {{ stroke: var(--muted); fill: none; stroke-width: 1; }}
path.range {{ stroke-width: 1.6; }}
.mark circle, .mark path {{ stroke-width: 1.6; }}
{_groups()}
.narrow {{ display: none; }}
@media screen and (max-width: {NARROW}px) {{
  .wide {{ display: none; }} .narrow {{ display: block; }}
  h1 {{ font-size: 22px; }}
}}
.legend {{ display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: 13px; color: var(--muted); max-width: none; }}
.swatch {{ display: inline-flex; align-items: center; gap: 6px; }}
.colour {{ display: inline-block; width: 14px; height: 14px; border: 1px solid var(--muted); }}
.strip-line {{ display: grid; grid-template-columns: 130px minmax(0, 1fr); gap: 8px; align-items: center;
  margin: 6px 0; }}
.strip {{ display: flex; flex-wrap: wrap; min-width: 0; gap: 1px; }}
.cell {{ display: inline-block; position: relative; flex: 1 1 0; min-width: 2px; height: 28px; overflow: hidden;
  background: var(--paper); outline: 1px solid var(--line); outline-offset: -1px; border-bottom: 5px solid; }}
.cell i {{ display: block; height: 100%; background: var(--ink); }}
.cell:hover {{ outline: 2px solid var(--group1); }}
.legend .cell {{ flex: none; width: 22px; height: 18px; }}
.cell {{ border-bottom-color: var(--line); }}
.cell.f32 {{ border-bottom-color: var(--group0); }}
.cell.f16 {{ border-bottom-color: var(--group2); border-bottom-style: dashed; }}
.cell.i8 {{ border-bottom-color: var(--group1); }}
.cell.i4 {{ border-bottom-color: var(--group3); border-bottom-style: double; }}
.cell.other {{ border-bottom-color: var(--group4); border-bottom-style: dotted; }}
.bar {{ display: block; height: 5px; margin-top: 2px; min-width: 64px; background: var(--panel); text-align: left; }}
.bar i {{ display: block; height: 100%; background: var(--group1); }}
.pictures {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 12px; }}
.pictures figure {{ margin: 0; max-width: 256px; }}
.pictures img {{ display: block; width: 100%; image-rendering: pixelated; border: 1px solid var(--line); }}
details {{ margin: 8px 0; }}
summary {{ cursor: pointer; font-weight: 600; }}
@media screen and (max-width: {NARROW}px) {{ .strip-line {{ grid-template-columns: minmax(0, 1fr); gap: 0; }} }}
@media print {{
  * {{ print-color-adjust: exact; -webkit-print-color-adjust: exact; }}
  main {{ max-width: none; padding: 0; }}
  body {{ font-size: 10pt; }}
  table {{ font-size: 7.5pt; }}
  th, td {{ padding: 2px 4px; }}
  tbody th, thead th:first-child {{ position: static; }}
  thead button::after {{ content: none !important; }}
  .scroll {{ overflow: visible; }}
  h2, h3 {{ break-after: avoid; }}
  figure, tr, .strip-line, .problems {{ break-inside: avoid; }}
}}
"""
