/* Instead of csrc/tuner.c: another gear after every write, so that whatever a tuner may do is done in a short run. With
 * test_writer.c this is test_gears. */
#include "tuner.h"

void hup_tuner_init(struct hup_tuner *tuner, bool on, uint32_t threads, uint32_t block, uint32_t blocks)
{
    *tuner =
        (struct hup_tuner){ .on = on, .threads = threads, .block = block, .flight = blocks, .now = { threads, 1 } };
    tuner->base = tuner->now;
    tuner->quiet = 1;
}

void hup_tuner_wait(struct hup_tuner *tuner, uint64_t now, bool begins)
{
    (void)now;
    tuner->waiting += begins ? 1 : UINT32_MAX;
}

bool hup_tuner_wrote(struct hup_tuner *tuner, uint64_t now, uint64_t bytes)
{
    (void)now;
    return hup_tuner_window(tuner, bytes, 1);
}

bool hup_tuner_window(struct hup_tuner *tuner, uint64_t bytes, uint64_t ns)
{
    (void)bytes;
    (void)ns;
    tuner->quiet = tuner->quiet * 6364136223846793005u + 1442695040888963407u;
    tuner->now.active = 1 + (uint32_t)(tuner->quiet >> 40) % tuner->threads;
    tuner->now.merge = 1 + (uint32_t)(tuner->quiet >> 50) % 8;
    tuner->base = tuner->now;
    return true;
}
