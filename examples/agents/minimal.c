/* A device agent in C: libzmq, msgpack-c, and docs/protocol.md.
 *
 * It has no shared memory: translations and accesses are messages. Build and attach it, or grade it:
 *
 *     cc -O2 -Wall -Wextra -o minimal examples/agents/minimal.c -lzmq -lmsgpackc
 *     shootdown attach --exec "./minimal {endpoint}" --as DEV0
 *     shootdown conformance --exec "./minimal {endpoint}"
 *
 * With --key FILE it attaches to a testbed of another host, encrypted.
 *
 * Every column is a small state machine: it waits for one answer at a time. An invalidation drops
 * what is cached, cancels translations under way, and is completed once the accesses that were
 * under way through what it dropped are over.
 */
#include <msgpack.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum {
    HELLO = 1, WELCOME, REFUSED, LOAD_PROGRAM, UNLOAD_PROGRAM, PROGRAM_UNLOADED,
    BATCH_BEGIN, BATCH_GO, BATCH_WARM, BATCH_DONE, SLOTS_STARTED,
    INVALIDATE = 16, INVALIDATE_COMPLETION, PAGE_REQUESTS, PAGE_RESPONSES,
    HEARTBEAT = 24, HEARTBEAT_REPLY, DETACH, DETACH_DONE, ERROR_REPORT, GOODBYE,
    TRANSLATION_REQUESTS = 32, TRANSLATION_COMPLETIONS, ACCESS_REQUESTS, ACCESS_ANSWERS,
    COLUMN_WAITS, PROCEED, COLUMNS_ENDED, ACCESS_GIVEN_UP
};
enum { LOAD = 1, STORE, PREFETCH, AWAIT, SYNC };
enum { UNKNOWN_MESSAGE = 106, SEQUENCE_GAP = 121, SEQUENCE_REPEATED = 122 };
enum { VERSION = 1, GLOBAL = 1, SUCCESS = 0, FAULTS_MAX = 16, PRGIS = 512, PAGE_SHIFT = 12 };
enum { LOCATIONS = 1024, COLUMNS = 64, WARMS = 1024, CACHE = 1 << 16, THREADS = 1 << 16 };
enum { BATCHES = 4, SLOTS = 1 << 15, MMS = 16, PENDING = 64, DEVICES = 64 };

typedef struct { int op, location, when; bool write; } Instruction;
typedef struct { int device, count; Instruction *lines; } Column;
typedef struct { int mm; uint64_t vpn; } Location;
typedef struct { int device, location; bool write; } Warm;
typedef struct { bool used, write; uint64_t pasid, vpn, page; } Entry;
typedef struct { uint64_t number; int warming, running; bool used, told; } Batch;
typedef enum { FREE, WARMING, WAITING, TRANSLATING, PREFETCHING, ACCESSING, ASKING } State;
typedef struct {
    State state;
    Batch *batch;
    int slot, column, line, attempts, location, device;
    bool waited, cancelled;
    uint64_t pasid, vpn;
    uint32_t tag; /* of the answer that it waits for; a PRGI while ASKING */
} Thread;
typedef struct { bool used; int device; uint64_t itag; int waits_for[256], count; } Pending;

static void *dealer;
static uint64_t sent, expected, program_number;
static uint32_t last_tag;
static Location locations[LOCATIONS];
static Column columns[COLUMNS];
static Warm warms[WARMS];
static int column_count, warm_count;
static uint64_t pasids[SLOTS][MMS];
static uint64_t plays[SLOTS]; /* a bit for each device that is ours there */
static Entry cache[CACHE];
static Thread threads[THREADS];
static int thread_top; /* no thread in use lies at or above */
static Batch batches[BATCHES];
static Pending pendings[PENDING];
static bool detaching;
static int64_t limit_ms = 10000; /* how long the daemon may be silent: the welcome says it */
static volatile sig_atomic_t asked_to_leave;

/* Messages that go out */

static msgpack_sbuffer buffer;
static msgpack_packer packer;

static void begin(int tag, size_t fields)
{
    msgpack_sbuffer_clear(&buffer);
    msgpack_pack_array(&packer, fields + 2);
    msgpack_pack_int(&packer, tag);
    msgpack_pack_uint64(&packer, sent++);
}

static void array(size_t count) { msgpack_pack_array(&packer, count); }
static void number(uint64_t value) { msgpack_pack_uint64(&packer, value); }
static void truth(bool value) { value ? msgpack_pack_true(&packer) : msgpack_pack_false(&packer); }

static void text(const char *value)
{
    msgpack_pack_str(&packer, strlen(value));
    msgpack_pack_str_body(&packer, value, strlen(value));
}

static void end(void) { zmq_send(dealer, buffer.data, buffer.size, 0); }

static void report(int code, const char *why)
{
    begin(ERROR_REPORT, 2), number(code), text(why), end();
}

static const char *told(const char *name)
{
    const char *value = getenv(name);
    if (!value) {
        fprintf(stderr, "%s is not set\n", name);
        exit(2);
    }
    return value;
}

/* The cache: a place is a page's hash, and a page that finds it taken takes it over */

static Entry *place_of(uint64_t pasid, uint64_t vpn)
{
    return &cache[(vpn * 31 + pasid * 0x9E3779B1u) % CACHE];
}

static Entry *cached(uint64_t pasid, uint64_t vpn, bool write)
{
    Entry *entry = place_of(pasid, vpn);
    bool hit = entry->used && entry->pasid == pasid && entry->vpn == vpn;
    return hit && (entry->write || !write) ? entry : NULL;
}

/* Threads */

static void run(Thread *thread);

static void translate(Thread *thread, State state, bool write)
{
    thread->state = state;
    thread->cancelled = false;
    thread->tag = ++last_tag;
    begin(TRANSLATION_REQUESTS, 1), array(1), array(5), number(thread->tag);
    number(thread->device), number(thread->pasid), number(thread->vpn << PAGE_SHIFT);
    truth(write), end();
}

static void next_line(Thread *thread)
{
    thread->line++;
    thread->attempts = 0;
    thread->waited = false;
    run(thread);
}

static void give_up(Thread *thread, bool retried)
{
    begin(ACCESS_GIVEN_UP, 4), number(thread->slot), number(thread->column);
    number(thread->line), truth(retried), end();
    next_line(thread);
}

static void access_page(Thread *thread, Entry *entry, bool hit)
{
    thread->state = ACCESSING;
    thread->tag = ++last_tag;
    begin(ACCESS_REQUESTS, 1), array(1), array(6), number(thread->tag), number(thread->slot);
    number(thread->column), number(thread->line), number(entry->page), truth(hit), end();
}

static void attempt(Thread *thread)
{
    bool write = columns[thread->column].lines[thread->line].op == STORE;
    Entry *entry = cached(thread->pasid, thread->vpn, write);
    if (entry)
        access_page(thread, entry, true);
    else if (thread->attempts++ == FAULTS_MAX)
        give_up(thread, true);
    else
        translate(thread, TRANSLATING, write);
}

static void ask_for_page(Thread *thread, bool write)
{
    bool open[PRGIS] = {false};
    for (int i = 0; i < thread_top; i++)
        if (threads[i].state == ASKING)
            open[threads[i].tag] = true;
    thread->tag = 0;
    while (open[thread->tag])
        thread->tag++;
    thread->state = ASKING;
    begin(PAGE_REQUESTS, 1), array(1), array(7), number(thread->device), number(thread->pasid);
    number(thread->vpn << PAGE_SHIFT), number(thread->tag), truth(true), truth(!write);
    truth(write), end();
}

static void complete(void)
{
    for (Pending *pending = pendings; pending < pendings + PENDING; pending++) {
        if (!pending->used)
            continue;
        int left = 0;
        for (int i = 0; i < pending->count; i++)
            if (threads[pending->waits_for[i]].state == ACCESSING)
                pending->waits_for[left++] = pending->waits_for[i];
        pending->count = left;
        if (left)
            continue;
        pending->used = false;
        begin(INVALIDATE_COMPLETION, 1), array(1), array(3), number(pending->device);
        number(UINT64_C(1) << pending->itag), number(1), end();
    }
}

static void end_column(Thread *thread)
{
    thread->state = FREE;
    begin(COLUMNS_ENDED, 1), array(1), array(2), number(thread->slot), number(thread->column);
    end();
    if (--thread->batch->running == 0) {
        begin(BATCH_DONE, 1), number(thread->batch->number), end();
        thread->batch->used = false;
    }
}

static void run(Thread *thread)
{
    Column *column = &columns[thread->column];
    while (thread->line < column->count) {
        Instruction *line = &column->lines[thread->line];
        if (detaching) {
            thread->state = FREE;
            return;
        }
        if ((line->op == AWAIT || line->op == SYNC || line->when) && !thread->waited) {
            thread->state = WAITING;
            thread->tag = ++last_tag;
            begin(COLUMN_WAITS, 1), array(1), array(4), number(thread->tag), number(thread->slot);
            number(thread->column), number(thread->line), end();
            return;
        }
        if (line->op == LOAD || line->op == STORE || line->op == PREFETCH) {
            thread->pasid = pasids[thread->slot][locations[line->location].mm];
            thread->vpn = locations[line->location].vpn;
            if (line->op == PREFETCH)
                translate(thread, PREFETCHING, line->write);
            else
                attempt(thread);
            return;
        }
        thread->line++;
        thread->waited = false;
    }
    end_column(thread);
}

static Thread *new_thread(Batch *batch, int slot, int device)
{
    int free = 0;
    while (free < THREADS && threads[free].state != FREE)
        free++;
    if (free == THREADS)
        exit(1);
    if (free == thread_top)
        thread_top++;
    threads[free] = (Thread){.batch = batch, .slot = slot, .device = device};
    return &threads[free];
}

static Thread *waiting(State state, uint32_t tag)
{
    for (int i = 0; i < thread_top; i++)
        if (threads[i].state == state && threads[i].tag == tag)
            return &threads[i];
    return NULL;
}

/* Answers */

static void say_warm(void)
{
    for (;;) {
        Batch *first = NULL;
        for (Batch *batch = batches; batch < batches + BATCHES; batch++)
            if (batch->used && !batch->told && (!first || batch->number < first->number))
                first = batch;
        if (!first || first->warming)
            return; /* a later number stands for all before it, so none overtakes another */
        first->told = true;
        begin(BATCH_WARM, 1), number(first->number), end();
    }
}

static void translated(uint32_t tag, uint64_t page, bool may_read, bool may_write)
{
    Thread *thread = NULL;
    for (State state = WARMING; !thread && state <= PREFETCHING; state++)
        if (state != WAITING)
            thread = waiting(state, tag);
    if (!thread)
        return;
    Entry *entry = place_of(thread->pasid, thread->vpn);
    if (may_read && !thread->cancelled)
        *entry = (Entry){true, may_write, thread->pasid, thread->vpn, page};
    if (thread->state == WARMING) {
        thread->state = FREE;
        thread->batch->warming--;
        say_warm();
    } else if (thread->state == PREFETCHING) {
        next_line(thread);
    } else if (thread->cancelled) {
        attempt(thread);
    } else {
        bool write = columns[thread->column].lines[thread->line].op == STORE;
        if (may_read && (may_write || !write))
            access_page(thread, entry, false);
        else
            ask_for_page(thread, write);
    }
}

static void responded(uint32_t prgi, uint64_t code)
{
    Thread *thread = waiting(ASKING, prgi);
    if (thread && code == SUCCESS)
        attempt(thread);
    else if (thread)
        give_up(thread, false);
}

static void accessed(uint32_t tag)
{
    Thread *thread = waiting(ACCESSING, tag);
    if (!thread)
        return;
    thread->state = FREE;
    complete();
    if (!detaching)
        next_line(thread);
}

static void proceed(uint32_t tag)
{
    Thread *thread = waiting(WAITING, tag);
    if (!thread)
        return;
    thread->waited = true;
    Instruction *line = &columns[thread->column].lines[thread->line];
    if (line->op == AWAIT || line->op == SYNC)
        next_line(thread);
    else
        run(thread);
}

/* What the daemon says */

static msgpack_object *field(msgpack_object *map, const char *name)
{
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        msgpack_object_kv *pair = &map->via.map.ptr[i];
        size_t length = pair->key.via.str.size;
        if (length == strlen(name) && !memcmp(pair->key.via.str.ptr, name, length))
            return &pair->val;
    }
    fprintf(stderr, "no %s in the program\n", name);
    exit(1);
}

static int64_t integer(msgpack_object *map, const char *name)
{
    return field(map, name)->via.i64;
}

static bool truth_of(msgpack_object *map, const char *name)
{
    return field(map, name)->via.boolean;
}

static void forget(void)
{
    memset(cache, 0, sizeof cache);
    memset(threads, 0, sizeof threads[0] * thread_top);
    memset(batches, 0, sizeof batches);
    memset(pendings, 0, sizeof pendings);
    thread_top = 0;
}

static void load_program(msgpack_object *fields)
{
    forget();
    detaching = false;
    program_number = fields[0].via.u64;
    msgpack_object *program = &fields[1];
    msgpack_object_array places = field(program, "locations")->via.array;
    for (uint32_t i = 0; i < places.size && i < LOCATIONS; i++) {
        locations[i].mm = (int)integer(&places.ptr[i], "mm");
        locations[i].vpn = field(&places.ptr[i], "va")->via.u64 >> PAGE_SHIFT;
    }
    msgpack_object_array declared = field(program, "columns")->via.array;
    column_count = (int)declared.size;
    for (int i = 0; i < column_count && i < COLUMNS; i++) {
        msgpack_object_array lines = field(&declared.ptr[i], "instructions")->via.array;
        free(columns[i].lines);
        columns[i] = (Column){(int)integer(&declared.ptr[i], "device"), (int)lines.size,
                              calloc(lines.size + 1, sizeof(Instruction))};
        for (uint32_t j = 0; j < lines.size; j++)
            columns[i].lines[j] = (Instruction){(int)integer(&lines.ptr[j], "op"),
                                                (int)integer(&lines.ptr[j], "location"),
                                                (int)integer(&lines.ptr[j], "when"),
                                                truth_of(&lines.ptr[j], "write_intent")};
    }
    msgpack_object_array warm = field(program, "warm")->via.array;
    warm_count = (int)warm.size;
    for (int i = 0; i < warm_count && i < WARMS; i++)
        warms[i] = (Warm){(int)integer(&warm.ptr[i], "device"),
                          (int)integer(&warm.ptr[i], "location"),
                          truth_of(&warm.ptr[i], "write_intent")};
}

static bool is_played(int slot, int device)
{
    return device >= 0 && plays[slot] >> device & 1;
}

static void begin_batch(msgpack_object *fields)
{
    Batch *batch = batches;
    while (batch->used && batch < batches + BATCHES - 1)
        batch++;
    *batch = (Batch){.number = fields[1].via.u64, .used = true};
    msgpack_object_array slots = fields[4].via.array;
    for (uint32_t i = 0; i < slots.size; i++) {
        int slot = (int)(slots.ptr[i].via.array.ptr[0].via.u64 % SLOTS);
        msgpack_object_array devices = slots.ptr[i].via.array.ptr[2].via.array;
        msgpack_object_array granted = slots.ptr[i].via.array.ptr[3].via.array;
        plays[slot] = 0;
        for (uint32_t d = 0; d < devices.size; d++)
            plays[slot] |= UINT64_C(1) << devices.ptr[d].via.u64 % DEVICES;
        for (uint32_t mm = 0; mm < granted.size && mm < MMS; mm++) {
            pasids[slot][mm] = granted.ptr[mm].via.u64;
            for (int place = 0; place < LOCATIONS; place++) {
                Entry *entry = place_of(pasids[slot][mm], locations[place].vpn);
                entry->used = entry->used && entry->pasid != pasids[slot][mm];
            }
        }
        for (int c = 0; c < column_count; c++)
            batch->running += is_played(slot, columns[c].device);
        for (int w = 0; w < warm_count; w++)
            batch->warming += is_played(slot, warms[w].device);
    }
    for (uint32_t i = 0; i < slots.size; i++)
        for (int w = 0; w < warm_count; w++) {
            int slot = (int)(slots.ptr[i].via.array.ptr[0].via.u64 % SLOTS);
            if (!is_played(slot, warms[w].device))
                continue;
            Thread *thread = new_thread(batch, slot, warms[w].device);
            thread->pasid = pasids[slot][locations[warms[w].location].mm];
            thread->vpn = locations[warms[w].location].vpn;
            translate(thread, WARMING, warms[w].write);
        }
    say_warm();
}

static Batch *batch_of(uint64_t wanted)
{
    for (Batch *batch = batches; batch < batches + BATCHES; batch++)
        if (batch->used && batch->number == wanted)
            return batch;
    return NULL;
}

static void go(uint64_t wanted)
{
    Batch *batch = batch_of(wanted);
    if (batch && !batch->running) {
        batch->used = false;
        begin(BATCH_DONE, 1), number(wanted), end();
    }
}

static void slots_started(msgpack_object *fields)
{
    Batch *batch = batch_of(fields[0].via.u64);
    msgpack_object_array slots = fields[2].via.array;
    for (uint32_t i = 0; batch && i < slots.size; i++)
        for (int c = 0; c < column_count; c++)
            if (is_played((int)slots.ptr[i].via.u64, columns[c].device)) {
                Thread *thread = new_thread(batch, (int)slots.ptr[i].via.u64, columns[c].device);
                thread->column = c;
                run(thread);
            }
}

/* A range word: with bit 11 set, a 0 above trailing ones (from bit 12 up) tells the size. */
static void decode(uint64_t word, uint64_t *first, uint64_t *pages)
{
    *pages = 1;
    if (word == UINT64_C(0x7ffffffffffff800)) {
        *first = 0, *pages = UINT64_C(1) << 52;
        return;
    }
    if (word >> 11 & 1) {
        *pages = 2;
        while (word >> PAGE_SHIFT & *pages >> 1)
            *pages <<= 1;
    }
    *first = (word >> PAGE_SHIFT) & ~(*pages - 1);
}

static void invalidate(msgpack_object_array requests)
{
    for (uint32_t i = 0; i < requests.size; i++) {
        msgpack_object *request = requests.ptr[i].via.array.ptr;
        uint64_t pasid = request[2].via.u64, first, pages;
        bool everyone = request[4].via.u64 & GLOBAL;
        decode(request[3].via.u64, &first, &pages);
        for (Entry *entry = cache; entry < cache + CACHE; entry++)
            if ((everyone || entry->pasid == pasid) && entry->vpn - first < pages)
                entry->used = false;
        Pending *pending = pendings;
        while (pending->used && pending < pendings + PENDING - 1)
            pending++;
        *pending = (Pending){.used = true, .device = (int)request[0].via.u64,
                             .itag = request[1].via.u64};
        for (int t = 0; t < thread_top; t++) {
            Thread *thread = &threads[t];
            if (!(everyone || thread->pasid == pasid) || thread->vpn - first >= pages)
                continue;
            thread->cancelled = true;
            if (thread->state == ACCESSING && pending->count < 256)
                pending->waits_for[pending->count++] = t;
        }
    }
    complete();
}

static void drop_everything(void)
{
    memset(cache, 0, sizeof cache);
    for (int i = 0; i < thread_top; i++)
        threads[i].cancelled = true;
}

static void obey(int tag, msgpack_object *fields)
{
    msgpack_object_array many = {0, NULL};
    if (tag >= INVALIDATE && fields[0].type == MSGPACK_OBJECT_ARRAY)
        many = fields[0].via.array;
    switch (tag) {
    case LOAD_PROGRAM: load_program(fields); break;
    case UNLOAD_PROGRAM:
        begin(PROGRAM_UNLOADED, 3), number(program_number), number(0);
        msgpack_pack_map(&packer, 0), end();
        break;
    case BATCH_BEGIN: begin_batch(fields); break;
    case BATCH_GO: go(fields[0].via.u64); break;
    case SLOTS_STARTED: slots_started(fields); break;
    case INVALIDATE: invalidate(many); break;
    case HEARTBEAT:
        begin(HEARTBEAT_REPLY, 2), number(fields[0].via.u64);
        msgpack_pack_map(&packer, 0), end();
        break;
    case DETACH: detaching = true; break;
    case WELCOME: limit_ms = (int64_t)fields[5].via.u64; break;
    case REFUSED:
        fprintf(stderr, "refused: %.*s\n", (int)fields[1].via.str.size, fields[1].via.str.ptr);
        exit(2);
    case GOODBYE: case DETACH_DONE: exit(0);
    }
    for (uint32_t i = 0; i < many.size; i++) {
        msgpack_object *one = many.ptr[i].via.array.ptr;
        if (tag == TRANSLATION_COMPLETIONS)
            translated((uint32_t)one[0].via.u64, one[1].via.u64, one[3].via.boolean,
                       one[4].via.boolean);
        else if (tag == ACCESS_ANSWERS)
            accessed((uint32_t)one[0].via.u64);
        else if (tag == PAGE_RESPONSES)
            responded((uint32_t)one[2].via.u64, one[3].via.u64);
        else if (tag == PROCEED)
            proceed((uint32_t)many.ptr[i].via.u64);
    }
}

static bool known(uint64_t tag)
{
    return tag == WELCOME || tag == REFUSED || tag == LOAD_PROGRAM || tag == UNLOAD_PROGRAM ||
           tag == BATCH_BEGIN || tag == BATCH_GO || tag == SLOTS_STARTED || tag == INVALIDATE ||
           tag == PAGE_RESPONSES || tag == HEARTBEAT || (tag >= DETACH && tag <= GOODBYE) ||
           tag == TRANSLATION_COMPLETIONS || tag == ACCESS_ANSWERS || tag == PROCEED;
}

static void hear(msgpack_object *message)
{
    if (message->type != MSGPACK_OBJECT_ARRAY || message->via.array.size < 2)
        return;
    msgpack_object *elements = message->via.array.ptr;
    uint64_t sequence = elements[1].via.u64;
    if (!known(elements[0].via.u64)) {
        report(UNKNOWN_MESSAGE, "unknown tag");
        return;
    }
    if (sequence < expected) {
        report(SEQUENCE_REPEATED, "a message came again");
        return;
    }
    if (sequence > expected) {
        drop_everything();
        report(SEQUENCE_GAP, "messages are missing");
    }
    expected = sequence + 1;
    obey((int)elements[0].via.u64, elements + 2);
}

static void leave_in_order(void)
{
    if (asked_to_leave == 1) {
        asked_to_leave = 2;
        begin(DETACH, 2), array(0), text("SIGTERM"), end();
    }
    if (!detaching)
        return;
    for (int i = 0; i < thread_top; i++)
        if (threads[i].state == ACCESSING)
            return;
    forget();
    detaching = false;
    begin(DETACH_DONE, 1), array(0), end();
}

/* Another host's daemon has a CURVE key, and takes any key pair of ours. */
static void encrypt(const char *server_key)
{
    char public_key[41], secret_key[41];
    if (!server_key || !*server_key)
        return;
    if (!zmq_has("curve") || zmq_curve_keypair(public_key, secret_key) ||
        zmq_setsockopt(dealer, ZMQ_CURVE_SERVERKEY, server_key, strlen(server_key) + 1) ||
        zmq_setsockopt(dealer, ZMQ_CURVE_PUBLICKEY, public_key, sizeof public_key) ||
        zmq_setsockopt(dealer, ZMQ_CURVE_SECRETKEY, secret_key, sizeof secret_key)) {
        perror("CURVE");
        exit(2);
    }
}

static void on_sigterm(int signal) { (void)signal, asked_to_leave = asked_to_leave ? 2 : 1; }

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s ENDPOINT\n", argv[0]);
        return 2;
    }
    struct sigaction action = {.sa_handler = on_sigterm};
    sigaction(SIGTERM, &action, NULL);
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    dealer = zmq_socket(zmq_ctx_new(), ZMQ_DEALER);
    int wait_ms = 50;
    zmq_setsockopt(dealer, ZMQ_RCVTIMEO, &wait_ms, sizeof wait_ms);
    encrypt(getenv("SHOOTDOWN_SERVER_KEY"));
    if (zmq_connect(dealer, argv[1])) {
        perror(argv[1]);
        return 2;
    }
    begin(HELLO, 6), number(VERSION), text(told("SHOOTDOWN_TOKEN")), text(told("SHOOTDOWN_NAME"));
    number((uint64_t)getpid()), array(0), array(1), text(told("SHOOTDOWN_DEVICE")), end();
    int64_t heard_ms = now_ms();
    for (bool silent = false; !silent;) {
        leave_in_order();
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        if (zmq_msg_recv(&frame, dealer, 0) >= 0) {
            heard_ms = now_ms();
            msgpack_unpacked unpacked;
            msgpack_unpacked_init(&unpacked);
            if (msgpack_unpack_next(&unpacked, zmq_msg_data(&frame), zmq_msg_size(&frame), NULL) ==
                MSGPACK_UNPACK_SUCCESS)
                hear(&unpacked.data);
            msgpack_unpacked_destroy(&unpacked);
        } else {
            silent = now_ms() - heard_ms > limit_ms;
        }
        zmq_msg_close(&frame);
    }
    fprintf(stderr, "the daemon was silent for %lld ms\n", (long long)limit_ms);
    return 4;
}
