"""The commands of `driftline`: what may be asked, and how it is told. They import what does the work when they run."""
