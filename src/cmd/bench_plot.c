/* The picture of holdfast bench --plot: two panels (prefill, decode) over context depth, one line
 * per engine and cache type, labelled at its end. Plain SVG, no scripts, readable on white. */
#include "cmd/bench.h"
#include "base/str.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

enum { W = 960, H = 440, PANEL_W = 340, PANEL_H = 290, TOP = 84, LEFT = 76, GAP = 120 };
enum { LINES_MAX = 24, POINTS_MAX = 64 };

static const char *const colors[] = {"#0b6e4f", "#c8553d", "#3d5a80",
                                     "#8e6c8a", "#b8860b", "#5f6b6d"};

struct line {
    char label[160];
    int n, color;
    double depth[POINTS_MAX], rate[POINTS_MAX], dev[POINTS_MAX];
    bool dashed;
};
struct panel {
    const char *title;
    struct line line[LINES_MAX];
    int n;
    double max_depth, max_rate;
};

static double number(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_string(v) ? atof(json_string_value(v)) : json_number_value(v);
}

static struct line *line_for(struct panel *p, const char *label, int color, bool dashed) {
    for (int i = 0; i < p->n; i++)
        if (strcmp(p->line[i].label, label) == 0) return &p->line[i];
    if (p->n == LINES_MAX) return NULL;
    struct line *l = &p->line[p->n++];
    *l = (struct line){.color = color, .dashed = dashed};
    snprintf(l->label, sizeof l->label, "%s", label);
    return l;
}

static void add_point(struct line *l, double depth, double rate, double dev) {
    int at = l->n;
    if (l->n == POINTS_MAX) return;
    while (at > 0 && l->depth[at - 1] > depth) at--;
    for (int i = l->n; i > at; i--)
        l->depth[i] = l->depth[i - 1], l->rate[i] = l->rate[i - 1], l->dev[i] = l->dev[i - 1];
    l->depth[at] = depth;
    l->rate[at] = rate;
    l->dev[at] = dev;
    l->n++;
}

static void collect(struct panel panels[2], const struct bench_series *s, int color) {
    size_t i;
    json_t *r;
    json_array_foreach(s->results, i, r) {
        double pp = number(r, "n_prompt"), tg = number(r, "n_gen");
        if ((pp > 0) == (tg > 0)) continue;
        struct panel *p = &panels[tg > 0];
        const json_t *type = json_object_get(r, "type_k");
        const char *kv = json_is_string(type) ? json_string_value(type) : "";
        char label[160];
        snprintf(label, sizeof label, "%s, %s KV", s->label, kv);
        struct line *l = line_for(p, label, color, strcmp(kv, "q8_0") != 0);
        double depth = number(r, "n_depth"), rate = number(r, "avg_ts");
        if (!l) continue;
        add_point(l, depth, rate, number(r, "stddev_ts"));
        if (depth > p->max_depth) p->max_depth = depth;
        if (rate > p->max_rate) p->max_rate = rate;
    }
}

/* A round step that gives about n ticks up to max. */
static double tick_step(double max, int n) {
    double raw = max / n, unit = pow(10, floor(log10(raw > 0 ? raw : 1)));
    static const double nice[] = {1, 2, 2.5, 5, 10};
    for (int i = 0; i < 5; i++)
        if (nice[i] * unit >= raw) return nice[i] * unit;
    return raw;
}

static void axes(struct buf *out, const struct panel *p, double x0, double top_rate) {
    double y1 = TOP + PANEL_H, step = tick_step(top_rate, 5);
    buf_printf(out, "<text x='%.0f' y='%d' class='t'>%s</text>\n", x0, TOP - 18, p->title);
    for (double v = 0; v <= top_rate * 1.0001; v += step) {
        double y = y1 - v / top_rate * PANEL_H;
        buf_printf(out,
                   "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' class='g'/>"
                   "<text x='%.1f' y='%.1f' class='a' text-anchor='end'>%g</text>\n",
                   x0, y, x0 + PANEL_W, y, x0 - 8, y + 4, v);
    }
    double most = p->max_depth > 0 ? p->max_depth : 1, dstep = tick_step(most / 1024, 4) * 1024;
    if (dstep < 512) dstep = most;
    for (double d = 0; d <= most * 1.0001; d += dstep) {
        double x = x0 + d / most * PANEL_W;
        if (d < 1024)
            buf_printf(out, "<text x='%.1f' y='%.1f' class='a' text-anchor='middle'>%g</text>\n", x,
                       y1 + 18, d);
        else
            buf_printf(out, "<text x='%.1f' y='%.1f' class='a' text-anchor='middle'>%gK</text>\n",
                       x, y1 + 18, d / 1024);
    }
    buf_printf(out,
               "<text x='%.1f' y='%.1f' class='a' text-anchor='middle'>tokens already in the "
               "context</text>\n",
               x0 + PANEL_W / 2.0, y1 + 38);
}

static void draw_line(struct buf *out, const struct panel *p, const struct line *l, double x0,
                      double top_rate) {
    double most = p->max_depth > 0 ? p->max_depth : 1, y1 = TOP + PANEL_H;
    const char *color = colors[(size_t)l->color % (sizeof colors / sizeof *colors)];
    buf_printf(out, "<polyline fill='none' stroke='%s' stroke-width='2.5'%s points='", color,
               l->dashed ? " stroke-dasharray='6 4'" : "");
    for (int i = 0; i < l->n; i++)
        buf_printf(out, "%.1f,%.1f ", x0 + l->depth[i] / most * PANEL_W,
                   y1 - l->rate[i] / top_rate * PANEL_H);
    buf_cstr(out, "'/>\n");
    for (int i = 0; i < l->n; i++) {
        double x = x0 + l->depth[i] / most * PANEL_W, y = y1 - l->rate[i] / top_rate * PANEL_H;
        double d = l->dev[i] / top_rate * PANEL_H;
        buf_printf(out,
                   "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='%s'/>"
                   "<circle cx='%.1f' cy='%.1f' r='3.5' fill='%s'/>\n",
                   x, y - d, x, y + d, color, x, y, color);
    }
}

static void legend(struct buf *out, const struct panel *p, double x0) {
    for (int i = 0; i < p->n; i++) {
        double y = TOP + 14 + 18 * i;
        const char *color = colors[(size_t)p->line[i].color % (sizeof colors / sizeof *colors)];
        buf_printf(
            out,
            "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='%s' stroke-width='2.5'%s/>"
            "<text x='%.1f' y='%.1f' class='l'>",
            x0 + PANEL_W - 168, y, x0 + PANEL_W - 142, y, color,
            p->line[i].dashed ? " stroke-dasharray='6 4'" : "", x0 + PANEL_W - 136, y + 4);
        for (const char *c = p->line[i].label; *c; c++) {
            if (*c == '<' || *c == '&' || *c == '>') buf_printf(out, "&#%d;", *c);
            else buf_char(out, *c);
        }
        buf_cstr(out, "</text>\n");
    }
}

static bool write_file(const char *path, const struct buf *text, struct err *e) {
    char tmp[4096];
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    FILE *f = fopen(tmp, "wb");
    if (!f) return err_set(e, ERR_IO, "cannot write %s: %s", tmp, strerror(errno));
    bool ok = fwrite(text->p, 1, text->len, f) == text->len;
    ok = fclose(f) == 0 && ok && rename(tmp, path) == 0;
    if (ok) return true;
    err_set(e, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    remove(tmp);
    return false;
}

bool bench_plot(const char *path, const struct bench_series *series, int n, struct err *e) {
    static struct panel panels[2];
    struct buf out = {0};
    const char *const title[2] = {"prefill, tokens per second", "decode, tokens per second"};
    for (int i = 0; i < 2; i++) panels[i] = (struct panel){.title = title[i]};
    for (int i = 0; i < n; i++) collect(panels, &series[i], i);
    if (!panels[0].n && !panels[1].n) return err_set(e, ERR_ARG, "there is nothing to plot");
    buf_printf(
        &out,
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' width='%d' height='%d'>\n"
        "<style>text{font-family:system-ui,sans-serif;fill:#222}.h{font-size:19px;"
        "font-weight:600}.t{font-size:14px;font-weight:600}.a{font-size:12px;fill:#555}"
        ".l{font-size:12px}.g{stroke:#e3e3e3}</style>\n"
        "<rect width='100%%' height='100%%' fill='#fff'/>\n"
        "<text x='%d' y='34' class='h'>Speed over context depth</text>\n",
        W, H, W, H, LEFT);
    for (int i = 0; i < 2; i++) {
        const struct panel *p = &panels[i];
        double x0 = LEFT + i * (PANEL_W + GAP), top = p->max_rate > 0 ? p->max_rate * 1.15 : 1;
        axes(&out, p, x0, top);
        for (int j = 0; j < p->n; j++) draw_line(&out, p, &p->line[j], x0, top);
        legend(&out, p, x0);
    }
    buf_cstr(&out, "</svg>\n");
    bool ok = out.failed ? err_nomem(e, "the plot", out.len) : write_file(path, &out, e);
    buf_free(&out);
    return ok;
}
