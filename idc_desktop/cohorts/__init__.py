"""Many slides as one piece of work, kept in the folder of their results.

- `members`: which slides a cohort has, and where the results of each go.
- `states`: what became of each, one file a slide, so that any number of processes can share it.
- `claims`: which process is at work on which slide.
- `figures`: what the tables say of a finished slide.
- `tables`, `page`: what all states say together: ``cohort.csv`` and its like.
"""
