"""How the report looks: light or dark as the reader has it, light on paper."""

_LIGHT = """--page: #f4f6f8; --card: #fff; --ink: #18212c; --soft: #5b6675; --line: #dde2e8; --tile: #e9edf1;
  --good: #1a7549; --stop: #b3261e; --refused: #bd4a10; --dropped: #64748b; --warned: #8a6206;
  --before: #a9b4c2; --now: #2f6fbd;"""
_DARK = """--page: #11151a; --card: #1a2027; --ink: #e6ebf1; --soft: #9ba7b6; --line: #2e3742; --tile: #252d37;
  --good: #5cc795; --stop: #ff8a80; --refused: #ff9e6b; --dropped: #9fb0c4; --warned: #e2b84d;
  --before: #64707f; --now: #6ea8ee;"""

STYLE = f""":root {{ color-scheme: light dark; {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
""" + """* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans",
  sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
header, section, .wide > table { background: var(--card); }
header, section, main > .wide { border: 1px solid var(--line); border-radius: 12px; }
main > .wide { background: var(--card); }
header { padding: 1.75rem 2rem; border-top: 6px solid var(--good); }
header.stop { border-top-color: var(--stop); }
.kind { margin: 0; color: var(--soft); font-size: .8rem; letter-spacing: .08em; text-transform: uppercase; }
h1 { margin: .1rem 0 .4rem; font-size: 2.2rem; line-height: 1.2; color: var(--good); }
.stop h1 { color: var(--stop); }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.25rem; }
h3 { display: flex; flex-wrap: wrap; align-items: center; gap: .4rem .75rem; margin: 0; font-size: 1.1rem; }
.summary { margin: 0 0 1.25rem; font-size: 1.15rem; max-width: 56rem; }
.bar { display: flex; gap: 2px; height: 14px; border-radius: 7px; overflow: hidden; }
.bar span { flex-basis: 4px; }
.bar .admitted { background: var(--good); } .bar .refused { background: var(--refused); }
.bar .dropped { background: var(--dropped); }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; margin: .6rem 0 1.25rem; padding: 0; list-style: none; }
.legend li::before { content: ""; display: inline-block; width: .7em; height: .7em; margin-right: .45em;
  border-radius: 2px; }
.legend .admitted::before { background: var(--good); } .legend .refused::before { background: var(--refused); }
.legend .dropped::before { background: var(--dropped); }
.next { margin: 0 0 1.25rem; padding: .9rem 1.1rem; border-radius: 8px; background: var(--page); }
.next p { margin: 0; } .next b, .remedy b { margin-right: .5em; }
.commands { display: grid; grid-template-columns: minmax(0, max-content) 1fr; gap: .35rem 1.25rem; margin: .7rem 0 0;
  padding: 0; list-style: none; }
.commands li { display: contents; } .commands span { color: var(--soft); font-size: .92rem; align-self: center; }
.commands code { padding: .2rem .6rem; border: 1px solid var(--line); border-radius: 6px; background: var(--card);
  user-select: all; overflow-wrap: anywhere; align-self: center; }
dl { display: flex; flex-wrap: wrap; gap: .5rem 2.5rem; margin: 0; }
dt { color: var(--soft); font-size: .85rem; } dd { margin: 0; overflow-wrap: anywhere; }
section { margin-top: 1rem; padding: 1.25rem 2rem 1.5rem; }
section p { margin: .5rem 0; max-width: 56rem; }
.number { color: var(--soft); font-weight: 400; font-size: 1rem; flex: 1 1 0; min-width: 14rem; }
h3 code { margin-left: auto; color: var(--soft); font-weight: 400; font-size: .85rem; }
code { font: .93em ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.badge { display: inline-block; padding: .05rem .6rem; border: 1px solid currentColor; border-radius: 99px;
  font-size: .8rem; font-weight: 600; white-space: nowrap; color: var(--good); }
.badge.stop { color: var(--stop); } .badge.refused { color: var(--refused); }
.badge.dropped { color: var(--dropped); } .badge.warned { color: var(--warned); }
.remedy { padding: .55rem .9rem; border-left: 3px solid var(--line); background: var(--page); }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1.1rem 1rem;
  margin-top: 1.1rem; }
figure { margin: 0; min-width: 0; }
figure img, .blank { display: block; width: 100%; aspect-ratio: 1; border-radius: 6px; background: var(--tile); }
figure img { object-fit: contain; } img.png { image-rendering: pixelated; }
.pair { grid-column: span 2; } .pair > div { display: grid; grid-template-columns: 1fr 1fr; gap: 6px; }
.blank { display: grid; place-items: center; border: 1px dashed var(--line); color: var(--soft); font-size: .85rem; }
.grid figcaption, .words { margin-top: .4rem; font-size: .85rem; line-height: 1.4; overflow-wrap: anywhere; }
.grid .pair figcaption { margin-top: 0; }
.path { font-weight: 600; font-size: .8rem; }
.label { display: inline-block; max-width: 100%; padding: 0 .45em; border-radius: 4px; background: var(--tile);
  font-size: .78rem; }
.label i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; border-radius: 2px;
  vertical-align: -.05em; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.label .striped { background-image: repeating-linear-gradient(-45deg, transparent 0 2px, var(--tile) 2px 4px); }
small { display: block; color: var(--soft); font-size: .8rem; }
.list { display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); gap: 0 2rem; margin-top: .8rem; }
.list .blank { display: none; }
.list figcaption { margin: 0; padding: .35rem 0; border-bottom: 1px solid var(--line); font-size: .85rem;
  overflow-wrap: anywhere; }
.more { color: var(--soft); }
.chart { margin: 1rem 0; } .chart figcaption { font-size: .9rem; color: var(--soft); margin-bottom: .4rem; }
.chart span::before { content: ""; display: inline-block; width: .7em; height: .7em; margin: 0 .4em 0 .6em;
  border-radius: 2px; background: var(--before); }
.chart span.now::before { background: var(--now); }
svg { display: block; width: 100%; min-width: 34rem; max-width: 60rem; }
rect.before { fill: var(--before); } rect.now { fill: var(--now); }
line { stroke: var(--line); } text { fill: var(--soft); font-size: 11px; }
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .92rem; }
th, td { padding: .55rem .9rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; } tr:last-child td { border-bottom: 0; }
td code { white-space: nowrap; } td bdi { overflow-wrap: anywhere; }
.numbers th + th, .numbers td + td { text-align: right; font-variant-numeric: tabular-nums; }
.numbers td:first-child { min-width: 7.5rem; }
td.refused { color: var(--refused); font-weight: 600; }
@media (max-width: 40rem) { main { padding: 1rem .6rem 2rem; } header, section { padding: 1.1rem 1rem; }
  .commands { grid-template-columns: 1fr; } .commands span { margin-bottom: .4rem; } }
@media print { :root { color-scheme: light; font-size: 11px; LIGHT } body { background: #fff; font-size: 1rem; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } main { max-width: none; padding: 0; }
  header, section, figure, tr, h2, h3 { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .grid { grid-template-columns: repeat(6, 1fr); } svg { min-width: 0; } }
""".replace("LIGHT", _LIGHT)
