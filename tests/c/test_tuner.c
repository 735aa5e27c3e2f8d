/* The tuner finds the best way to write for devices of any kind, and is misled neither by stalls nor by noise. */
#include "check.h"
#include "tuner.h"

enum { MIB = 1 << 20, THREADS = 4, RING = 8 };

/* A device: how many bytes a second it takes in this gear, and what goes wrong in the window that starts at `at`. */
struct device {
    double (*speed)(struct hup_gear gear, uint64_t at);
    uint64_t stall_every, stall_ns; /* bytes; 0: none */
    unsigned noise;                 /* percent, up and down */
};

static uint64_t random_state;

static unsigned chance(unsigned below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % below;
}

/* Write so many bytes in windows of 4 MiB. The nanoseconds that it takes. */
static uint64_t run(struct hup_tuner *tuner, const struct device *device, uint64_t from, uint64_t bytes)
{
    const uint64_t window = 4 * MIB;
    uint64_t sum = 0;

    for (uint64_t at = from; at < from + bytes; at += window) {
        double speed = device->speed(tuner->now, at);
        if (device->noise)
            speed *= 1 + ((double)chance(2 * device->noise + 1) - device->noise) / 100;
        uint64_t ns = (uint64_t)(1e9 * (double)window / speed);
        if (device->stall_every && at / device->stall_every != (at + window) / device->stall_every)
            ns += device->stall_ns / 5 + chance((unsigned)(device->stall_ns / 5 * 4));
        hup_tuner_window(tuner, window, ns);
        sum += ns;
    }
    return sum;
}

static void start(struct hup_tuner *tuner)
{
    hup_tuner_init(tuner, true, THREADS, MIB, RING);
    CHECK_EQUAL(tuner->now.active, THREADS);
    CHECK_EQUAL(tuner->now.merge, 1);
}

/* A card: requests one after the other, and a gap between them when only one is in flight. */
static double card(struct hup_gear gear, uint64_t at)
{
    double busy = MIB / 40e6, gap = gear.active == 1 ? 0.002 : 0;

    (void)at;
    return MIB * gear.merge / (busy * gear.merge + gap);
}

/* It is the better, the larger its writes are. */
static double likes_large(struct hup_gear gear, uint64_t at)
{
    (void)at;
    return 20e6 * gear.merge;
}

/* Each write has a latency, and they go on side by side. */
static double likes_many(struct hup_gear gear, uint64_t at)
{
    (void)at;
    return 30e6 * gear.active + 1e6 * gear.merge;
}

static double likes_one(struct hup_gear gear, uint64_t at)
{
    (void)at;
    return 80e6 / gear.active;
}

/* Until its fast cells are full, writes side by side are good for it, and then large ones. */
static double has_a_knee(struct hup_gear gear, uint64_t at)
{
    return at < (uint64_t)512 * MIB ? likes_many(gear, at) : 5e6 * gear.merge;
}

static double any(struct hup_gear gear, uint64_t at)
{
    (void)gear;
    (void)at;
    return 1000e6;
}

/* Where it settles is the gear given, which is within 3% of the best one, with stalls or without. */
static void settles(double (*speed)(struct hup_gear, uint64_t), uint64_t stall_every, uint32_t active, uint32_t merge)
{
    struct device device = { speed, stall_every, 500000000, 0 };
    double best = 0;

    for (uint32_t threads = 1; threads <= THREADS; threads *= 2)
        for (uint32_t blocks = 1; blocks * threads <= RING / 4 * 3; blocks *= 2) {
            double is = speed((struct hup_gear){ threads, blocks }, 0);
            best = is > best ? is : best;
        }
    for (unsigned seed = 1; seed <= 50; seed++) {
        struct hup_tuner tuner;
        random_state = seed;
        start(&tuner);
        run(&tuner, &device, 0, 400 * MIB);
        CHECK_EQUAL(tuner.phase, HUP_TUNER_SETTLED);
        if (!stall_every) { /* else a gear is denied now and then what it deserves */
            CHECK_EQUAL(tuner.base.active, active);
            CHECK_EQUAL(tuner.base.merge, merge);
        }
        CHECK(speed(tuner.base, 0) > 0.97 * best);
    }
}

static void finds_the_best(void)
{
    for (uint64_t every = 0; every <= 32 * MIB; every += 16 * MIB) {
        settles(card, every, 2, 1);
        settles(likes_large, every, 1, 4);
        settles(likes_many, every, 4, 1);
        settles(likes_one, every, 1, 1);
    }
}

/* Nearly as fast with two threads, and a little better with large writes. */
static double loop_device(struct hup_gear gear, uint64_t at)
{
    static const double share[] = { 0, 0.75, 0.96, 1, 1 };

    (void)at;
    return 1e9 * share[gear.active] * (gear.merge > 1 ? 1.02 : 1);
}

/* To look costs less than 3% of the time that 256 MiB take in the gear that it starts with; windows may differ by half,
 * and one image is as another: it is the mean of many. */
static void looking_is_cheap(double (*speed)(struct hup_gear, uint64_t))
{
    for (unsigned noise = 0; noise <= 50; noise += 10) {
        struct device device = { speed, 0, 0, noise };
        double adapts = 0, stays = 0;
        for (unsigned seed = 1; seed <= 300; seed++) {
            struct hup_tuner tuner;
            random_state = seed * 7919;
            start(&tuner);
            adapts += (double)run(&tuner, &device, 0, 256 * MIB);
            random_state = seed * 7919;
            hup_tuner_init(&tuner, false, THREADS, MIB, RING);
            stays += (double)run(&tuner, &device, 0, 256 * MIB);
        }
        CHECK(adapts < 1.03 * stays);
    }
}

static void looks_again_after_a_knee(void)
{
    struct device device = { has_a_knee, 0, 0, 0 };
    struct hup_tuner tuner;

    start(&tuner);
    run(&tuner, &device, 0, 500 * MIB);
    CHECK_EQUAL(tuner.base.active, 4);
    CHECK_EQUAL(tuner.looks, 0);
    run(&tuner, &device, 500 * MIB, 1000 * MIB);
    CHECK_EQUAL(tuner.looks, 1);
    CHECK_EQUAL(tuner.base.active, 1);
    CHECK_EQUAL(tuner.base.merge, 4);
}

/* Writes of 1 MiB every 10 ms; the writers wait for the decoders for `idle` of them. */
static void write_on(struct hup_tuner *tuner, uint64_t *now, int writes, uint64_t idle)
{
    for (int i = 0; i < writes; i++) {
        hup_tuner_wait(tuner, *now, true);
        hup_tuner_wait(tuner, *now + idle, false);
        *now += 10000000;
        hup_tuner_wrote(tuner, *now, MIB);
    }
}

static void windows_are_made_of_writes(void)
{
    struct hup_tuner tuner;
    uint64_t now = 1;

    start(&tuner);
    write_on(&tuner, &now, 1 + 4, 0); /* the first one only opens the window */
    CHECK_EQUAL(tuner.count, 1);
    CHECK_EQUAL(tuner.speeds[0], 4 * MIB * (uint64_t)1000 / 40);
    write_on(&tuner, &now, 3, 0);
    CHECK_EQUAL(tuner.count, 1); /* one thread's is missing */
    write_on(&tuner, &now, 1 + 3 * 4, 0);
    CHECK_EQUAL(tuner.phase, HUP_TUNER_TRY);
    CHECK_EQUAL(tuner.now.active * tuner.now.merge, 4);
    CHECK_EQUAL(tuner.skip, 4); /* those of the last gear are still on their way */
}

static void waiting_for_the_decoders_does_not_count(void)
{
    struct hup_tuner tuner;
    uint64_t now = 1;

    start(&tuner);
    write_on(&tuner, &now, 1000, 5000000);
    CHECK_EQUAL(tuner.count, 0);
    CHECK_EQUAL(tuner.phase, HUP_TUNER_MEASURE);
    write_on(&tuner, &now, 4 * 5 + 4, 0);
    CHECK_EQUAL(tuner.phase, HUP_TUNER_TRY);
    write_on(&tuner, &now, 1000, 5000000); /* no gear can show what it is worth: back */
    CHECK_EQUAL(tuner.phase, HUP_TUNER_SETTLED);
    CHECK_EQUAL(tuner.now.active, THREADS);
    CHECK_EQUAL(tuner.now.merge, 1);
}

/* All gears that are tried are within the limits of the ring, of the threads, and of a write. */
static void limits_hold(void)
{
    static double (*const speeds[])(struct hup_gear, uint64_t) = { card, likes_large, likes_many, likes_one };

    for (uint32_t threads = 1; threads <= 32; threads++)
        for (uint32_t blocks = threads + 1; blocks < 100; blocks += 7)
            for (uint32_t block = 64 << 10; block <= 4 * MIB; block *= 2)
                for (int i = 0; i < 4; i++) {
                    struct hup_tuner tuner;
                    struct device device = { speeds[i], 0, 0, 0 };
                    hup_tuner_init(&tuner, true, threads, block, blocks);
                    for (int step = 0; step < 100; step++) {
                        run(&tuner, &device, 0, 4 * MIB);
                        CHECK(tuner.now.active >= 1 && tuner.now.active <= threads && tuner.now.merge >= 1);
                        CHECK(tuner.now.active * tuner.now.merge < blocks);
                        CHECK(tuner.now.merge * block <= 4 * MIB);
                    }
                }
}

/* Small blocks are put together from the start, as far as the ring has room for two writes, and for the decoders. */
static void starts_with_large_writes(void)
{
    static const struct {
        uint32_t threads, block, blocks, active, merge;
    } cases[] = { { 4, MIB, 8, 4, 1 },     { 4, MIB / 4, 32, 4, 4 },  { 4, MIB / 4, 14, 2, 4 },
                  { 4, MIB / 4, 6, 2, 2 }, { 2, MIB / 4, 3, 2, 1 },   { 1, MIB / 4, 2, 1, 1 },
                  { 4, 4 * MIB, 8, 4, 1 }, { 4, MIB / 16, 64, 3, 16 } };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hup_tuner tuner;
        hup_tuner_init(&tuner, true, cases[i].threads, cases[i].block, cases[i].blocks);
        CHECK_EQUAL(tuner.now.active, cases[i].active);
        CHECK_EQUAL(tuner.now.merge, cases[i].merge);
    }
}

static void off_is_off(void)
{
    struct hup_tuner tuner;
    uint64_t now = 1;

    hup_tuner_init(&tuner, false, 3, MIB / 4, 4 * RING);
    write_on(&tuner, &now, 1000, 0);
    CHECK_EQUAL(tuner.now.active, 3);
    CHECK_EQUAL(tuner.now.merge, 1);
}

int main(void)
{
    finds_the_best();
    looking_is_cheap(card);
    looking_is_cheap(any);
    looking_is_cheap(likes_many);
    looking_is_cheap(loop_device);
    looks_again_after_a_knee();
    windows_are_made_of_writes();
    waiting_for_the_decoders_does_not_count();
    limits_hold();
    starts_with_large_writes();
    off_is_off();
    return 0;
}
