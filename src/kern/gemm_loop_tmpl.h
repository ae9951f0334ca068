/* The loops of a gemm around a level's tiles: rows by 16, segments, columns by TILE_COLS. The
 * including file has defined TILE_COLS, super_tile and chunk_tile. */

/* A tile of rows from r on and columns from c on; y holds the running sums between segments. */
FORCE_INLINE void run_tile(const struct super_kind *s, const struct chunk_kind *t,
                           const struct matmul_args *g, const struct panel *p, int64_t r,
                           int64_t k0, int n, int c) {
    int n_cols = g->x->n_cols - c < TILE_COLS ? g->x->n_cols - c : TILE_COLS;
    int64_t n_rows = g->row1 - r < PANEL_ROWS ? g->row1 - r : PANEL_ROWS;
    size_t y_bytes = (size_t)n_rows * sizeof *g->y;
    struct tile x = tile_at(g->x->packed, act_blocks(g->x->k), c, k0 / 256);
    float *y = g->y + c * g->y_ld + r;
    _Alignas(64) float acc[TILE_COLS][PANEL_ROWS] = {0};
    for (int i = 0; i < n_cols && k0; i++) memcpy(acc[i], y + i * g->y_ld, y_bytes);
    if (s) super_tile(s, p, n / 256, &x, acc);
    else chunk_tile(t, p, n / 32, &x, acc);
    for (int i = 0; i < n_cols; i++) memcpy(y + i * g->y_ld, acc[i], y_bytes);
}

/* Exactly one of the kinds is given. Columns meet PANELS panels at a time: reading them again for
 * every 16 rows would wait for memory behind the second cache. */
FORCE_INLINE void gemm(const struct super_kind *s, const struct chunk_kind *t,
                       const struct matmul_args *g, struct panel *p) {
    for (int64_t r = g->row0; r < g->row1; r += PANELS * PANEL_ROWS) {
        int n_panels = 0;
        while (n_panels < PANELS && r + n_panels * PANEL_ROWS < g->row1) n_panels++;
        for (int64_t k0 = 0; k0 < g->x->k; k0 += KERN_SEGMENT) {
            int n = g->x->k - k0 < KERN_SEGMENT ? (int)(g->x->k - k0) : KERN_SEGMENT;
            for (int i = 0; i < n_panels; i++)
                if (s) fill_super(s, g, r + i * PANEL_ROWS, k0 / 256, n / 256, p + i);
                else fill_chunk(t, g, r + i * PANEL_ROWS, k0 / 32, n / 32, p + i);
            for (int c = 0; c < g->x->n_cols; c += TILE_COLS)
                for (int i = 0; i < n_panels; i++)
                    run_tile(s, t, g, p + i, r + i * PANEL_ROWS, k0, n, c);
        }
    }
}
