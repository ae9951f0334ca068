/* Responses that may be asked for again, newest first, as text: nothing is shared between threads
 * and the bytes are known. They live as long as the server; what is dropped is refused by name. */
#include "base/limits.h"
#include "base/mem.h"
#include "serve/api_responses.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct record {
    struct record *older;
    char *key, *id;
    struct buf text[2]; /* by enum responses_part */
};
struct responses_store {
    pthread_mutex_t lock;
    struct record *newest;
    size_t bytes;
};

struct responses_store *responses_store_new(void) {
    struct responses_store *s = mem_calloc(1, sizeof *s);
    if (s) pthread_mutex_init(&s->lock, NULL);
    return s;
}

static size_t size_of(const struct record *r) {
    return sizeof *r + r->text[0].cap + r->text[1].cap;
}

static void free_record(struct record *r) {
    mem_free(r->key);
    mem_free(r->id);
    for (int i = 0; i < 2; i++) buf_free(&r->text[i]);
    mem_free(r);
}

/* Takes the record at *at out of the list. */
static void drop(struct responses_store *s, struct record **at) {
    struct record *r = *at;
    *at = r->older;
    s->bytes -= size_of(r);
    free_record(r);
}

void responses_store_free(struct responses_store *s) {
    if (!s) return;
    while (s->newest) drop(s, &s->newest);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

void responses_store_put(struct responses_store *s, const char *key, const char *id,
                         const json_t *response, const json_t *items) {
    struct record *r = mem_calloc(1, sizeof *r);
    if (!r) return;
    r->key = mem_strdup(key);
    r->id = mem_strdup(id);
    if (!r->key || !r->id || !json_write(&r->text[RESPONSES_RESPONSE], response) ||
        !json_write(&r->text[RESPONSES_ITEMS], items) || size_of(r) > LIMIT_RESPONSES_BYTES) {
        free_record(r);
        return;
    }
    pthread_mutex_lock(&s->lock);
    r->older = s->newest;
    s->newest = r;
    s->bytes += size_of(r);
    struct record **at = &r->older;
    for (size_t room = LIMIT_RESPONSES_BYTES - size_of(r); *at;) {
        size_t size = size_of(*at);
        if (size > room) {
            drop(s, at);
        } else {
            room -= size;
            at = &(*at)->older;
        }
    }
    pthread_mutex_unlock(&s->lock);
}

static struct record **find(struct responses_store *s, const char *key, const char *id) {
    struct record **at = &s->newest;
    while (*at && (strcmp((*at)->id, id) != 0 || strcmp((*at)->key, key) != 0)) at = &(*at)->older;
    return at;
}

json_t *responses_store_get(struct responses_store *s, const char *key, const char *id,
                            enum responses_part part) {
    struct err e;
    pthread_mutex_lock(&s->lock);
    const struct record *r = *find(s, key, id);
    json_t *out = r ? json_parse(buf_view(&r->text[part]), LIMIT_RESPONSES_BYTES, &e) : NULL;
    pthread_mutex_unlock(&s->lock);
    return out;
}

static json_t *item_of(const struct record *r, struct str id) {
    struct err e;
    json_t *response =
        json_parse(buf_view(&r->text[RESPONSES_RESPONSE]), LIMIT_RESPONSES_BYTES, &e);
    json_t *item, *found = NULL;
    size_t i;
    json_array_foreach(json_object_get(response, "output"), i, item) {
        if (!found && str_eq(json_get_str(item, "id"), id)) found = json_incref(item);
    }
    json_decref(response);
    return found;
}

json_t *responses_store_item(struct responses_store *s, const char *key, const char *id) {
    char quoted[128];
    json_t *item = NULL;
    snprintf(quoted, sizeof quoted, "\"%.100s\"", id);
    pthread_mutex_lock(&s->lock);
    for (const struct record *r = s->newest; r && !item; r = r->older)
        if (strcmp(r->key, key) == 0 &&
            str_find(buf_view(&r->text[RESPONSES_RESPONSE]), str_of(quoted), 0) >= 0)
            item = item_of(r, str_of(id));
    pthread_mutex_unlock(&s->lock);
    return item;
}

bool responses_store_delete(struct responses_store *s, const char *key, const char *id) {
    pthread_mutex_lock(&s->lock);
    struct record **at = find(s, key, id);
    bool found = *at != NULL;
    if (found) drop(s, at);
    pthread_mutex_unlock(&s->lock);
    return found;
}
