"""The kernels that read weights where they lie: products with few columns, chosen experts, and decoding.

Bodies in Metal Shading Language; the header of a format (format.py) comes before them. MLX writes the signature around
a body: `w`, `x`, ... are the arguments, `w_shape` and `w_strides` (in elements) come with them, and the thread
positions that a body names are declared.

One simdgroup computes ROWS rows for COLUMNS columns: its lanes take every 32nd part of a row, and add up at the end.
Simdgroups never wait for each other, and there is no threadgroup memory.
"""

from __future__ import annotations

from ggmlrpc_metal.kernels.format import Format

SIMD_WIDTH = 32
SIMDGROUPS = 4
"""Simdgroups of a threadgroup in the kernels of products."""

# MLX passes arrays of fewer than 8 elements in constant memory: the type X of a pointer to them is left open.
_DOTS = """
template <int ROWS, int COLUMNS, typename X>
inline void dots(thread bytes_in* row, thread X* column, uint k, uint lane, thread float* sum) {
  for (uint i = 0; i < ROWS * COLUMNS; i++) sum[i] = 0.0f;
  for (uint part = lane; part < k / 16; part += 32)
    for (uint r = 0; r < ROWS; r++) {
      float v[16];
      load(row[r], part, v);
      for (uint c = 0; c < COLUMNS; c++) {
        float products = 0.0f;
        for (uint i = 0; i < 16; i++) products += v[i] * column[c][16 * part + i];
        sum[r * COLUMNS + c] += products;
      }
    }
"""
_REST = """  for (uint i = k / 16 * 16 + lane; i < k; i += 32)
    for (uint r = 0; r < ROWS; r++)
      for (uint c = 0; c < COLUMNS; c++) sum[r * COLUMNS + c] += element(row[r], i) * column[c][i];
"""

MUL_MAT = """
  uint k = x_shape[3], columns = x_shape[2], m = w_shape[2];
  uint lane = thread_index_in_simdgroup;
  uint first_row = ROWS * (threadgroup_position_in_grid.x * SIMDGROUPS + simdgroup_index_in_threadgroup);
  uint first_column = COLUMNS * threadgroup_position_in_grid.y;
  if (first_row >= m) return;

  // Slice (i3, i2) of x; weights are shared by neighbouring slices of the outermost dimension.
  uint i2 = threadgroup_position_in_grid.z % x_shape[1], i3 = threadgroup_position_in_grid.z / x_shape[1];
  uint w3 = i3 / (x_shape[0] / w_shape[0]);
  auto slice = w + w3 * w_strides[0] + i2 * w_strides[1];
  ulong x_slice = ulong(threadgroup_position_in_grid.z) * columns;

  // What is over the edge is computed from the last row or column, and not stored.
  bytes_in row[ROWS];
  for (uint r = 0; r < ROWS; r++) row[r] = (bytes_in)(slice + metal::min(first_row + r, m - 1) * w_strides[2]);
  decltype(x) column[COLUMNS];
  for (uint c = 0; c < COLUMNS; c++) column[c] = x + (x_slice + metal::min(first_column + c, columns - 1)) * k;

  float sum[ROWS * COLUMNS];
  dots<ROWS, COLUMNS>(row, column, k, lane, sum);
  for (uint r = 0; r < ROWS; r++)
    for (uint c = 0; c < COLUMNS; c++) {
      float total = metal::simd_sum(sum[r * COLUMNS + c]);
      if (lane == 0 && first_row + r < m && first_column + c < columns)
        y[(x_slice + first_column + c) * m + first_row + r] = total;
    }
"""
"""y[i3, i2, c, :] = rows of w[i3 / share, i2] times x[i3, i2, c].

w: [A3, A2, m, row], any strides but neighbouring elements in a row; x: f32 [B3, A2, columns, k], without gaps;
y: f32 [B3, A2, columns, m]. Grid in threadgroups: (row groups, column groups, B3 * A2).
"""

MUL_MAT_ID = """
  uint k = x_shape[1], m = w_shape[2];
  uint lane = thread_index_in_simdgroup;
  uint first_row = ROWS * (threadgroup_position_in_grid.x * SIMDGROUPS + simdgroup_index_in_threadgroup);
  uint pair = threadgroup_position_in_grid.y;
  if (first_row >= m) return;

  // Ids were checked before; a wrong one must still not lead out of the weights.
  uint expert = metal::min(uint(ids[pair]), uint(w_shape[1] - 1));
  bytes_in row[ROWS];
  for (uint r = 0; r < ROWS; r++)
    row[r] = (bytes_in)(w + expert * w_strides[1] + metal::min(first_row + r, m - 1) * w_strides[2]);
  decltype(x) column[1] = {x + ulong(x_rows[pair]) * k};

  float sum[ROWS];
  dots<ROWS, 1>(row, column, k, lane, sum);
  for (uint r = 0; r < ROWS; r++) {
    float total = metal::simd_sum(sum[r]);
    if (lane == 0 && first_row + r < m) y[ulong(pair) * m + first_row + r] = total;
  }
"""
"""y[pair] = rows of w[0, ids[pair]] times x[x_rows[pair]].

w: [1, experts, m, row]; x: f32 [rows, k]; ids, x_rows: int32 [pairs]; y: f32 [pairs, m]. Grid in threadgroups: (row
groups, pairs, 1).
"""

DEQUANTIZE = """
  uint part = thread_position_in_grid.x, i1 = thread_position_in_grid.y;
  uint i2 = thread_position_in_grid.z % w_shape[1], i3 = thread_position_in_grid.z / w_shape[1];
  float v[16];
  load((bytes_in)(w + i3 * w_strides[0] + i2 * w_strides[1] + i1 * w_strides[2]), part, v);
  ulong at = 16 * (part + threads_per_grid.x * (i1 + ulong(w_shape[2]) * thread_position_in_grid.z));
  for (uint i = 0; i < 16; i++) y[at + i] = v[i];
"""
"""y = the elements of w as f32. w: [d3, d2, d1, row] of a quantized type; y: f32 [d3, d2, d1, k].

Grid in threads: (k / 16, d1, d3 * d2).
"""


def product_header(form: Format) -> str:
    """What comes before the bodies of products."""
    rest = "" if form.type.quantized else _REST
    return f"{form.header}\nconstant const uint SIMDGROUPS = {SIMDGROUPS};\n{_DOTS}{rest}}}\n"
