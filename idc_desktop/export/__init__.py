"""What leaves the application: the six files, further formats, and the proof of a folder.

No file holds a path, a time, a user or host name, or any text of the slide's own metadata.

- `content`: what all exports say. `formats`: which there are. `folder`: writing them so that a
  folder is complete or untouched. `earlier`: whose a folder is, and what of it is outdated.
  `verify`: the proof that it is what was written.
- `tables`, `patches`, `overlay`, `ome_tiff`: the six files. `report`, `wsinfer`, `dsa`, `dicom`:
  one format each. All are imported when they are used.
"""
