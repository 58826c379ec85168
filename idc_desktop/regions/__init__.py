"""Regions of a slide: values, statistics, editing, files.

- `shape`: `Shape` and `Region`, plain values of numpy arrays.
- `diameter`: the longest straight line in a shape, or in several.
- `statistics`: the figures of regions on a probability map.
- `book`: the regions of one slide with undo, redo and a file that survives kills.
- `editing`: drawing, brush, union, split …: new shapes from old ones. The only door to shapely.
- `foci`: regions from the map: the connected positive areas, ranked; and the wand.
- `files`: regions from GeoJSON (QuPath, WSInfer, ours) and ASAP XML, and back to GeoJSON.
"""
