"""Experiments: tables of rows × methods, answered by one loop and reported alike; calibration and router training.

`table` has the records, `table_file`, `evaluate` and `paper` make tables, `workspace` keeps what they need, `answering` answers
their runs, and `report` scores them. Imports point from here to `evaluation` and `answering`, never back.
"""
