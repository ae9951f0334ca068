/* The loops of a gemm around a level's tiles: rows by 16, segments, columns by TILE_COLS. The
 * including file has defined TILE_COLS, super_tile and chunk_tile. */

/* Exactly one of the kinds is given. y holds the running sums between segments. */
FORCE_INLINE void gemm(const struct super_kind *s, const struct chunk_kind *t,
                       const struct matmul_args *g, struct panel *p) {
    int64_t k = g->x->k, n_blocks = act_blocks(k);
    for (int64_t r = g->row0; r < g->row1; r += PANEL_ROWS) {
        size_t y_bytes =
            (size_t)(g->row1 - r < PANEL_ROWS ? g->row1 - r : PANEL_ROWS) * sizeof *g->y;
        for (int64_t k0 = 0; k0 < k; k0 += KERN_SEGMENT) {
            int n = k - k0 < KERN_SEGMENT ? (int)(k - k0) : KERN_SEGMENT;
            if (s) fill_super(s, g, r, k0 / 256, n / 256, p);
            else fill_chunk(t, g, r, k0 / 32, n / 32, p);
            for (int c = 0; c < g->x->n_cols; c += TILE_COLS) {
                int n_cols = g->x->n_cols - c < TILE_COLS ? g->x->n_cols - c : TILE_COLS;
                struct tile x = tile_at(g->x->packed, n_blocks, c, k0 / 256);
                float *y = g->y + c * g->y_ld + r;
                _Alignas(64) float acc[TILE_COLS][PANEL_ROWS] = {0};
                for (int i = 0; i < n_cols && k0; i++) memcpy(acc[i], y + i * g->y_ld, y_bytes);
                if (s) super_tile(s, p, n / 256, &x, acc);
                else chunk_tile(t, p, n / 32, &x, acc);
                for (int i = 0; i < n_cols; i++) memcpy(y + i * g->y_ld, acc[i], y_bytes);
            }
        }
    }
}
