"""Short texts of our own, for the samples folder."""

from __future__ import annotations

from pathlib import Path

TEXTS = {
    "cats.md": """# Living with a cat

A house cat sleeps for most of the day and hunts at dusk. It purrs when it is content, cleans
its fur with a rough tongue, and finds its way in the dark with its whiskers.
""",
    "coffee.txt": """An espresso is brewed by pressing hot water through finely ground coffee
beans. It is served in a small cup, often with sugar, and many people cannot begin the morning
without one.
""",
    "clocks.html": """<!doctype html><title>How a clock keeps time</title>
<h1>How a clock keeps time</h1>
<p>A pendulum or a quartz crystal swings at a steady pace. Wheels turn that pace into hours and
minutes, and the hands on the dial of a wall clock show them. An alarm clock also rings in the
morning.</p>
""",
    "motorcycles.txt": """A motorcycle leans into a bend because its rider shifts the weight.
Scooters and mopeds have small engines for the town; larger machines are made for the motorway.
""",
    "sea.md": """# The sea shore

Waves are made by wind far out on the ocean. Where the water becomes shallow they grow steep,
break, and run up the sand. Twice a day the tide hides the beach.
""",
    "storms.txt": """Lightning heats the air along its path so fast that the air explodes. We hear
that explosion as thunder. Count the seconds between flash and bang and divide by three: so many
kilometres away is the storm.
""",
    "bread.md": """# White bread

Mix flour, water, salt and yeast, knead the dough for ten minutes and let it rise for an hour.
Shape a loaf, wait again, then bake it in a very hot oven until the crust is brown.
""",
    "traffic.txt": """Red means stop, green means go. At a crossing the light gives way to each
street in turn, so that cars, buses and people on foot do not meet in the middle.
""",
}
"""Each text by its file name."""

PDF_LINES = (
    "Keeping bees",
    "",
    "A hive holds up to fifty thousand bees and one queen.",
    "The workers gather nectar from flowers and store it as honey",
    "in cells of wax. In winter they keep each other warm.",
)
"""What the sample PDF says."""


def write_pdf(path: Path, lines: tuple[str, ...] = PDF_LINES) -> None:
    """Write one page of text as a PDF, by hand: five objects and a table of their offsets."""
    shown = " T* ".join(f"({line}) Tj" for line in lines)
    page = f"BT /F1 14 Tf 18 TL 60 760 Td {shown} ET"
    objects = (
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        " /Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(page)} >>\nstream\n{page}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    body, places = "%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n"
    entries = "".join(f"{place:010d} 00000 n \n" for place in places)
    table = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{entries}"
    trailer = (
        f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    )
    path.write_text(body + table + trailer, "ascii")
