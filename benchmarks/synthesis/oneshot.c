/* One sentence, one process, over the library of espeak-ng: what `espeak-ng -v VOICE -w FILE TEXT` does.
   cc oneshot.c LIBRARY -o oneshot; ./oneshot FILE TEXT (ONESHOT_DATA: folder of the data, ONESHOT_VOICE: language). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int espeak_Initialize(int output, int length_ms, const char *path, int options);
void espeak_SetSynthCallback(int (*take)(short *, int, void *));
int espeak_SetVoiceByName(const char *name);
int espeak_Synth(const void *text, size_t size, unsigned int position, int kind, unsigned int end, unsigned int flags,
                 unsigned int *identifier, void *user);
int espeak_Synchronize(void);

static FILE *file;
static unsigned int samples;

static int take(short *wave, int count, void *events) {
    (void)events;
    if (wave != NULL && count > 0) samples += (unsigned int)fwrite(wave, sizeof(short), (size_t)count, file);
    return 0;
}

static void header(unsigned int rate_hz) {
    unsigned int bytes = 2 * samples, riff = 36 + bytes, size = 16, per_second = 2 * rate_hz;
    unsigned short kind = 1, channels = 1, align = 2, bits = 16;
    fwrite("RIFF", 1, 4, file); fwrite(&riff, 4, 1, file); fwrite("WAVEfmt ", 1, 8, file); fwrite(&size, 4, 1, file);
    fwrite(&kind, 2, 1, file); fwrite(&channels, 2, 1, file); fwrite(&rate_hz, 4, 1, file);
    fwrite(&per_second, 4, 1, file); fwrite(&align, 2, 1, file); fwrite(&bits, 2, 1, file);
    fwrite("data", 1, 4, file); fwrite(&bytes, 4, 1, file);
}

int main(int count, char **words) {
    if (count != 3 || (file = fopen(words[1], "wb")) == NULL) return 2;
    int rate_hz = espeak_Initialize(2, 0, getenv("ONESHOT_DATA"), 0);
    if (rate_hz <= 0 || espeak_SetVoiceByName(getenv("ONESHOT_VOICE")) != 0) return 3;
    header((unsigned int)rate_hz);
    espeak_SetSynthCallback(take);
    if (espeak_Synth(words[2], strlen(words[2]) + 1, 0, 1, 0, 1, NULL, NULL) != 0) return 4;
    espeak_Synchronize();
    rewind(file);
    header((unsigned int)rate_hz);
    return fclose(file) != 0;
}
