/* How many writes are in flight, and how large they are.
 *
 * It starts with what is good nearly everywhere: all threads, 1 MiB each. A window is a few writes:
 *
 *   |== skipped: the last gear's ==|== window ==|== window ==|== window ==|== window ==|== window ==| verdict
 *
 * - It is short (4 MiB, 20 ms), so that most windows of a card that stalls now and then have no stall, and there are
 *   five: of those of a gear that is tried the second slowest counts, so that one stall says nothing, and of those of
 *   the base the fastest. Where the windows of the base differ much, nothing is tried, and all stays as it was.
 * - It ends with a write, after as many for each thread: writes that end together must not be cut apart.
 * - It does not count when the writers have waited for the decoders in more than an eighth of it: then these are the
 *   limit, and there is nothing to tune.
 *
 * From the base, its neighbours are tried, one after the other: half and twice the threads, half and twice the size of
 * a write, and one for the other. One with more or as many bytes in flight has to be faster by 3%; one with fewer must
 * not be slower by 1% than the second fastest window of the best, for others who use the medium wait less then, and the
 * decoders have more room. When no neighbour is left, the base stays, until the speed is another: when a card's fast
 * cells are full. */
#include "tuner.h"

#include <string.h>

enum {
    WINDOW_BYTES = 4 << 20,
    WINDOW_NS = 20000000,
    WRITE_FIRST = 1 << 20,
    WRITE_MOST = 4 << 20,
    DROPPED_MOST = 10, /* windows that did not count, until a gear is given up */
    UNSTEADY_MOST = 4, /* times five windows of the base, until it is left alone */
    QUIET_FIRST = 20,  /* windows from one look to the next, at least; twice as many each time */
    GEARS_LOG = 6,     /* 1 to 32 of each: what `tried` has bits for */
    STEADY_PERCENT = 20,
    AGAIN_PERCENT = 50, /* the speed has changed by so much */
};

static uint32_t log_of(uint32_t value)
{
    uint32_t log = 0;

    while (value >>= 1)
        log++;
    return log;
}

static uint64_t bit_of(struct hup_gear gear)
{
    return (uint64_t)1 << (log_of(gear.active) * GEARS_LOG + log_of(gear.merge));
}

static void begin(struct hup_tuner *tuner)
{
    tuner->phase = HUP_TUNER_MEASURE;
    tuner->base = tuner->now;
    tuner->tried = bit_of(tuner->now);
    tuner->count = tuner->dropped = tuner->unsteady = 0;
    tuner->best = 0;
}

/* Writes of 1 MiB where blocks are smaller, as long as there are two of them, and as many as the ring then bears. */
static struct hup_gear first(const struct hup_tuner *tuner)
{
    struct hup_gear gear = { tuner->threads, 1 };

    while (gear.merge * tuner->block < WRITE_FIRST && tuner->threads > 1 && 4 * gear.merge <= tuner->flight)
        gear.merge *= 2;
    if (gear.active > tuner->flight / gear.merge)
        gear.active = tuner->flight / gear.merge;
    return gear;
}

void hup_tuner_init(struct hup_tuner *tuner, bool on, uint32_t threads, uint32_t block, uint32_t blocks)
{
    uint32_t most = WRITE_MOST / block;
    uint32_t rest = blocks - (blocks + 3) / 4; /* a quarter of the ring stays with the decoders */

    *tuner = (struct hup_tuner){ .on = on,
                                 .threads = threads,
                                 .block = block,
                                 .flight = rest > threads ? rest : threads,
                                 .merge_most = most < 32 ? most : 32,
                                 .quiet = QUIET_FIRST };
    tuner->now = on ? first(tuner) : (struct hup_gear){ threads, 1 };
    begin(tuner);
}

static bool possible(const struct hup_tuner *tuner, struct hup_gear gear)
{
    return gear.active && gear.merge && gear.active <= tuner->threads && gear.merge <= tuner->merge_most &&
           gear.active * gear.merge <= tuner->flight && !(tuner->tried & bit_of(gear));
}

static bool shift(struct hup_tuner *tuner, struct hup_gear gear)
{
    bool other = gear.active != tuner->now.active || gear.merge != tuner->now.merge;

    if (other) {
        tuner->skip = gear.active > tuner->now.active ? gear.active : tuner->now.active;
        tuner->since = 0;
    }
    tuner->now = gear;
    tuner->count = tuner->dropped = 0;
    return other;
}

/* On to a neighbour of the base that was not measured yet, or back to the base for good. */
static bool next(struct hup_tuner *tuner)
{
    const uint32_t active = tuner->base.active, merge = tuner->base.merge;
    const struct hup_gear neighbours[] = { { active / 2, merge * 2 }, { active, merge * 2 }, { active * 2, merge },
                                           { active * 2, merge / 2 }, { active / 2, merge }, { active, merge / 2 } };

    for (size_t i = 0; i < sizeof neighbours / sizeof neighbours[0]; i++) {
        if (!possible(tuner, neighbours[i]))
            continue;
        tuner->phase = HUP_TUNER_TRY;
        tuner->tried |= bit_of(neighbours[i]);
        return shift(tuner, neighbours[i]);
    }
    tuner->phase = HUP_TUNER_SETTLED;
    return shift(tuner, tuner->base);
}

static void sort(uint64_t *speeds)
{
    for (int i = 1; i < HUP_TUNER_WINDOWS; i++)
        for (int j = i; j > 0 && speeds[j] < speeds[j - 1]; j--) {
            uint64_t speed = speeds[j];
            speeds[j] = speeds[j - 1];
            speeds[j - 1] = speed;
        }
}

static void accept(struct hup_tuner *tuner)
{
    uint64_t fast = tuner->speeds[HUP_TUNER_WINDOWS - 2];

    memcpy(tuner->base_speeds, tuner->speeds, sizeof tuner->speeds);
    tuner->base = tuner->now;
    tuner->best = fast > tuner->best ? fast : tuner->best;
}

/* Of sorted windows: are they alike, so that a gear can be compared with them? */
static bool steady(const struct hup_tuner *tuner)
{
    return tuner->speeds[HUP_TUNER_WINDOWS - 2] < tuner->speeds[1] / 100 * (100 + STEADY_PERCENT);
}

/* Of sorted windows: is the gear that was tried better? */
static bool better(const struct hup_tuner *tuner)
{
    uint64_t low = tuner->speeds[1], high = tuner->base_speeds[HUP_TUNER_WINDOWS - 1];

    if (tuner->now.active * tuner->now.merge < tuner->base.active * tuner->base.merge)
        return low > tuner->best / 100 * 99;
    return low > high / 100 * 103;
}

/* Is it hopeless after a window or two? */
static bool hopeless(const struct hup_tuner *tuner)
{
    uint64_t bad = tuner->base_speeds[HUP_TUNER_WINDOWS / 2] / 10 * 9, awful = bad / 3 * 2;

    return tuner->phase == HUP_TUNER_TRY && ((tuner->count == 1 && tuner->speeds[0] < awful) ||
                                             (tuner->count == 2 && tuner->speeds[0] < bad && tuner->speeds[1] < bad));
}

/* What was hopeless for want of threads is so with even fewer, or smaller writes: that need not be tried. */
static void give_up(struct hup_tuner *tuner)
{
    if (tuner->now.active >= tuner->base.active)
        return;
    for (struct hup_gear gear = { tuner->now.active, 1 }; gear.active; gear.active /= 2)
        for (gear.merge = tuner->now.merge; gear.merge; gear.merge /= 2)
            tuner->tried |= bit_of(gear);
}

/* The speed of a settled run: is it another one? */
static bool changed(const struct hup_tuner *tuner)
{
    uint64_t is = tuner->speeds[HUP_TUNER_WINDOWS / 2], was = tuner->base_speeds[HUP_TUNER_WINDOWS / 2];

    return is > was / 100 * (100 + AGAIN_PERCENT) || was > is / 100 * (100 + AGAIN_PERCENT);
}

bool hup_tuner_window(struct hup_tuner *tuner, uint64_t bytes, uint64_t ns)
{
    if (!tuner->on || !ns)
        return false;
    tuner->quiet -= tuner->quiet ? 1 : 0;
    tuner->speeds[tuner->count++] = bytes * 1000000 / ((ns + 999) / 1000);
    if (hopeless(tuner)) {
        give_up(tuner);
        return next(tuner);
    }
    if (tuner->count < HUP_TUNER_WINDOWS)
        return false;
    sort(tuner->speeds);
    if (tuner->phase == HUP_TUNER_SETTLED) {
        tuner->count = 0;
        if (!tuner->quiet && changed(tuner)) {
            tuner->quiet = (uint64_t)QUIET_FIRST << (tuner->looks < 16 ? ++tuner->looks : tuner->looks);
            begin(tuner);
        }
        return false;
    }
    if (tuner->phase == HUP_TUNER_MEASURE && !steady(tuner)) {
        tuner->count = 0;
        if (++tuner->unsteady < UNSTEADY_MOST)
            return false;
        tuner->tried = UINT64_MAX;
    }
    if (tuner->phase == HUP_TUNER_MEASURE || better(tuner))
        accept(tuner);
    return next(tuner);
}

/* A window in which the decoders were the limit. */
static bool drop(struct hup_tuner *tuner)
{
    if (tuner->phase != HUP_TUNER_TRY || ++tuner->dropped < DROPPED_MOST)
        return false;
    return next(tuner);
}

void hup_tuner_wait(struct hup_tuner *tuner, uint64_t now, bool begins)
{
    if (begins && !tuner->waiting++)
        tuner->starved_since = now;
    if (!begins && !--tuner->waiting)
        tuner->starved += now - tuner->starved_since;
}

static void open_window(struct hup_tuner *tuner, uint64_t now)
{
    tuner->since = tuner->starved_since = now;
    tuner->starved = tuner->bytes = tuner->writes = 0;
}

bool hup_tuner_wrote(struct hup_tuner *tuner, uint64_t now, uint64_t bytes)
{
    if (!tuner->on)
        return false;
    if (tuner->skip) {
        tuner->skip--;
        return false;
    }
    if (!tuner->since) {
        open_window(tuner, now);
        return false;
    }
    tuner->writes++;
    tuner->bytes += bytes;
    uint64_t ns = now - tuner->since;
    if (tuner->bytes < WINDOW_BYTES || ns < WINDOW_NS || tuner->writes % tuner->now.active)
        return false;
    uint64_t starved = tuner->starved + (tuner->waiting ? now - tuner->starved_since : 0), written = tuner->bytes;
    open_window(tuner, now);
    return starved > ns / 8 ? drop(tuner) : hup_tuner_window(tuner, written, ns);
}
