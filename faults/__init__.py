"""The campaign: kills, full disks, damaged files, false mirrors and bad input, against real runs of the package.

    python -m faults --brief   under a minute
    make campaign              all of it; its totals are the book's

After each fault the same work is run again and compared, record by record, with a run that nothing disturbed.
"""
