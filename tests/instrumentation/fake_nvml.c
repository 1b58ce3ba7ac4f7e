/* A driver of NVIDIA's for tests, so that the real pynvml talks to a real shared library: four GPUs.
 *
 * 0 says everything; 1 is old, and supports neither utilisation nor energy; 2 is divided by MIG into two slices,
 * the first with its profile in its name; 3 is in MIG mode and has no slice.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, NOT_LOADED = 9 };
enum { GPUS = 4, MIG_GPU = 2, EMPTY_GPU = 3, FIRST_SLICE = 4, ALL = 6 };

static int devices[ALL];
static const char *UUIDS[ALL] = {
    "GPU-00000000-aaaa-bbbb-cccc-000000000000", "GPU-11111111-aaaa-bbbb-cccc-000000000000",
    "GPU-22222222-aaaa-bbbb-cccc-000000000000", "GPU-33333333-aaaa-bbbb-cccc-000000000000",
    "MIG-44444444-aaaa-bbbb-cccc-000000000000", "MIG-55555555-aaaa-bbbb-cccc-000000000000",
};
static const char *NAMES[ALL] = {
    "NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-40GB",
    "NVIDIA A100-SXM4-40GB MIG 3g.20gb", "NVIDIA A100-SXM4-40GB",
};

static int number_of(void *device) { return (int)((int *)device - devices); }
static int is_slice(void *device) { return number_of(device) >= FIRST_SLICE; }

int nvmlInitWithFlags(unsigned flags) { return getenv("FAKE_NVML_DOWN") ? NOT_LOADED : OK; }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { return code == NOT_LOADED ? "Driver Not Loaded" : "No"; }

int nvmlDeviceGetCount_v2(unsigned *count) { return *count = GPUS, OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
  return *device = &devices[index], index < GPUS ? OK : INVALID;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
  for (int i = 0; i < ALL; i++)
    if (!strcmp(uuid, UUIDS[i])) return *device = &devices[i], OK;
  return NOT_FOUND;
}
int nvmlDeviceGetUUID(void *device, char *uuid, unsigned length) {
  return strncpy(uuid, UUIDS[number_of(device)], length), OK;
}
int nvmlDeviceGetName(void *device, char *name, unsigned length) {
  return strncpy(name, NAMES[number_of(device)], length), OK;
}

int nvmlDeviceGetMigMode(void *device, unsigned *now, unsigned *then) {
  if (number_of(device) == 1) return NOT_SUPPORTED;
  const char *whole = getenv("FAKE_NVML_WHOLE"); /* a file: MIG is off while it is there */
  return *now = *then = number_of(device) >= MIG_GPU && !(whole && !access(whole, F_OK)), OK;
}
int nvmlDeviceGetMaxMigDeviceCount(void *device, unsigned *count) { return *count = 7, OK; }
int nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned index, void **slice) {
  if (number_of(device) == EMPTY_GPU || index > 3 || index == 1 || index == 2) return NOT_FOUND;
  return *slice = &devices[FIRST_SLICE + (index == 3)], OK;
}

struct sizes { unsigned multiprocessors, copy, decoder, encoder, jpeg, ofa, gpu_slices, compute_slices; unsigned long long mb; };
int nvmlDeviceGetAttributes_v2(void *device, struct sizes *sizes) {
  memset(sizes, 0, sizeof *sizes);
  return sizes->gpu_slices = 2, sizes->compute_slices = 1, sizes->mb = 9856, OK;
}

struct rates { unsigned gpu, memory; };
int nvmlDeviceGetUtilizationRates(void *device, struct rates *rates) {
  if (number_of(device) == 1 || is_slice(device)) return NOT_SUPPORTED;
  return rates->gpu = 37, rates->memory = 5, OK;
}
struct memory { unsigned long long total, free, used; };
int nvmlDeviceGetMemoryInfo(void *device, struct memory *memory) {
  return memory->total = 85899345920ull, memory->used = 1073741824ull, memory->free = memory->total - memory->used, OK;
}
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
  if (number_of(device) == 1 || is_slice(device)) return NOT_SUPPORTED;
  return *millijoules = 123456789ull, OK;
}
