"""The phantom: a synthetic slide, painted by a program, with its tumour outlines as ground truth.

It is no tissue and no patient. A scene is planned once at 8 µm per pixel, as amounts of the two
stains of an H&E section, outlines and positions of nuclei (`plan`); blocks of it are then painted
at 0.5 µm (`painting`), and the coarser levels are reduced from the painted pixels (`pyramid`).
Nothing random is drawn while blocks are painted, so a block looks the same whoever paints it, and
the files are the same each time (`making`).
"""
