"""The results of scripts/benchmark.py as Markdown tables."""

from collections.abc import Iterable


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table whose columns are also aligned for reading as it stands; all but the first to the right."""
    lines = [[*head], *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rule = [f"{'-' * (width - (i > 0))}{':' * (i > 0)}" for i, width in enumerate(widths)]
    cells = [
        [
            text.rjust(width) if i else text.ljust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [cells[0], rule, *cells[1:]])


def steps(family: str, found: dict, ceilings: dict[str, float]) -> str:
    """A family's rows: `found` as scripts.benchmark.compare makes it; ceilings: 1e12 operations a second, by dtype."""
    first = next(iter(found["rows"].values()))["seconds"]
    height, width = found["size"]
    tera = found["flops"] / 1e12
    head = ("", "ms / step", "pictures/s", "ratio", "peak MB", "TFLOP/s", "of the ceiling")
    lines = [
        (
            name,
            f"{1000 * row['seconds']:.1f}",
            f"{found['batch'] / row['seconds']:.1f}",
            f"{first / row['seconds']:.2f}x",
            f"{row['peak_mb']:.0f}",
            f"{tera / row['seconds']:.2f}",
            f"{100 * tera / row['seconds'] / ceilings[row['ceiling']]:.0f} %",
        )
        for name, row in found["rows"].items()
    ]
    title = f"{family}, batch {found['batch']}, {width}x{height}, {tera:.3f} TFLOP a step"
    return f"{title}\n\n{markdown(head, lines)}"


def ratios(families: dict[str, dict]) -> str:
    """All families in one table: the first row's time, and how many times as fast the others are."""
    names = list(dict.fromkeys(name for found in families.values() for name in [*found["rows"]][1:]))
    lines = []
    for family, found in families.items():
        (base, first), rows = next(iter(found["rows"].items())), found["rows"]
        cells = [f"{first['seconds'] / rows[name]['seconds']:.2f}x" if name in rows else "-" for name in names]
        lines.append((f"{family}, batch {found['batch']}", f"{base}: {1000 * first['seconds']:.0f} ms", *cells))
    return markdown(("", "a step of", *names), lines)


def speeds(title: str, found: dict[str, dict[str, float]]) -> str:
    """Pictures a second, by family and row."""
    names = list(dict.fromkeys(name for rows in found.values() for name in rows))
    lines = [
        (family, *(f"{rows[name]:.1f}" if name in rows else "-" for name in names)) for family, rows in found.items()
    ]
    return f"{title}\n\n{markdown(('', *names), lines)}"
