"""The plot of bench/run: one line for each figure, a dot for each file system at its ratio to the row's baseline. An SVG by hand."""

import html
import math

from results import is_ours

LINE = 19
LEFT = 330
WIDTH = 1010
PLOT = WIDTH - LEFT - 20
LIMITS = (1 / 1000, 100)
OURS = "#d62728"
OTHERS = "#999"
COLORS = {
    "varvefs": OURS, "varvefs ro": "#ff9896", "varvefs awake": "#8b0000", "ovl": "#1f77b4", "ovl+sqfs": "#17a2b8", "ovl+erofs": "#2ca02c", "fo": "#9467bd",
    "fo+sqf": "#e377c2", "squashfuse": "#bcbd22", "native": "#8c6d31",
}  # fmt: skip
NAMES = {
    "varvefs": "varvefs", "varvefs ro": "varvefs, read-only", "varvefs awake": "varvefs, wakeup_us=0", "ovl": "overlayfs", "ovl+sqfs": "overlayfs on squashfs",
    "ovl+erofs": "overlayfs on erofs", "fo": "fuse-overlayfs", "fo+sqf": "fuse-overlayfs on squashfuse", "squashfuse": "squashfuse",
    "native": "native",
}  # fmt: skip
STYLE = """
text { font: 12px sans-serif; fill: #222 } .row { font-weight: bold } .small { font-size: 11px; fill: #555 }
.page { fill: #fff } .grid { stroke: #ddd } .one { stroke: #777; stroke-width: 1.5 } .range { stroke: #999; stroke-width: 1 }
.peer { stroke: #fff; stroke-width: 0.5 } .goal { stroke: #d62728; stroke-width: 2; fill: none }
@media (prefers-color-scheme: dark) {
  text { fill: #ddd } .small { fill: #aaa } .page { fill: #161616 } .grid { stroke: #333 } .one { stroke: #999 }
  .range { stroke: #777 } .peer { stroke: #161616 }
}
"""


def position(ratio):
    low, high = (math.log10(limit) for limit in LIMITS)
    at = (math.log10(min(max(ratio, LIMITS[0]), LIMITS[1])) - low) / (high - low)
    return LEFT + at * PLOT


def figure_lines(results):
    """(row, figure, {column: ratio}, the allowed ratio or None) of the figures that have a baseline."""
    for result in results:
        medians = result.medians()
        for figure in result.row.figures:
            of_figure = medians[figure.key]
            base = of_figure.get(result.row.baseline)
            if not base or len(of_figure) < 2:
                continue
            bounds = [bound for other, target, _, bound, _ in result.judged()
                      if other is figure and target.column == "varvefs" and bound]  # fmt: skip
            yield result.row, figure, {key: value / base for key, value in of_figure.items()}, min(bounds) / base if bounds else None


def legend(parts, y):
    x = 10
    for key, color in COLORS.items():
        width = 24 + 7 * len(NAMES[key])
        if x + width > WIDTH:
            x, y = 10, y + LINE
        parts.append(f'<circle class="peer" cx="{x + 6}" cy="{y - 4}" r="5" fill="{color}"/><text x="{x + 16}" y="{y}">{NAMES[key]}</text>')
        x += width
    return y + LINE


def axis(parts, top, bottom):
    for power in range(-3, 3):
        x = position(10.0**power)
        label = f"{10.0**power:g}x"
        parts.append(f'<line class="{"one" if power == 0 else "grid"}" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="small" x="{x:.1f}" y="{top - 5}" text-anchor="middle">{label}</text>')


def dots(parts, y, ratios, goal):
    xs = [position(ratio) for ratio in ratios.values()]
    parts.append(f'<line class="range" x1="{min(xs):.1f}" y1="{y}" x2="{max(xs):.1f}" y2="{y}"/>')
    if goal:
        x = position(goal)
        parts.append(f'<path class="goal" d="M{x:.1f} {y - 8}v16m0 -8l-5 -4m5 4l-5 4"/>')
    # Ours last, above the others.
    for key, ratio in sorted(ratios.items(), key=lambda item: is_ours(item[0])):
        color = COLORS.get(key, OURS if is_ours(key) else OTHERS)
        parts.append(f'<circle class="peer" cx="{position(ratio):.1f}" cy="{y}" r="{6 if key == "varvefs" else 4.5}" fill="{color}">'
                     f"<title>{html.escape(key)}: {ratio:.3g}x</title></circle>")  # fmt: skip


def write_chart(path, results, told):
    lines = list(figure_lines(results))
    parts = []
    title = "Ratio to overlayfs (rows 11 and 14 to 18: to the peer that their tables name), less is better"
    parts.append(f'<text class="row" x="10" y="20">{title}</text>')
    machine = f"{told['date'][:10]}, Linux {told['kernel']}, {told['processors']} processors, {told['file_system']}"
    about = f"{machine}, commit {(told['commit'] or '')[:12]}; the red arrow is the target; what lies beyond the edges is drawn there"
    parts.append(f'<text class="small" x="10" y="38">{html.escape(about)}</text>')
    top = legend(parts, 60) + 15
    bottom = top + LINE * len(lines) + 8
    axis(parts, top, bottom)
    for number, (row, figure, ratios, goal) in enumerate(lines):
        y = top + LINE * number + 14
        parts.append(f'<text class="row" x="10" y="{y + 4}">{html.escape(row.number)}</text>'
                     f'<text x="42" y="{y + 4}">{html.escape(short(figure.title, row.title))}</text>')  # fmt: skip
        dots(parts, y, ratios, goal)
    height = bottom + 12
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">\n'
                   f'<style>{STYLE}</style>\n<rect class="page" width="{WIDTH}" height="{height}"/>\n')  # fmt: skip
        file.write("\n".join(parts) + "\n</svg>\n")


def short(figure_title, row_title, most=46):
    words = f"{row_title.split(', ')[0]}: {figure_title}"
    return words if len(words) <= most else f"{words[: most - len(figure_title) - 5].rstrip()}...: {figure_title}"
