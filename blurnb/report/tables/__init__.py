"""Records as tables that people read: cells of text, one way to print a number everywhere."""

from blurnb.report.tables import accuracy, claims, deblurring, doses, provenance, published, segmentation
