"""Every figure of the book, from records: a colour means the same blur in all, and each states network, data and n."""

from blurnb.report.figures import deblurring, doses, segmentation
from blurnb.report.figures.accuracy import accuracy_by_blur, before_after, confidence, loss_split, reliability
from blurnb.report.figures.cost import frontier, scale_cost
from blurnb.report.figures.matrices import layer_heatmap, transfer_matrix
from blurnb.report.figures.sheets import contact_sheet, kernels
