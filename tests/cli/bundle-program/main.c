#include <math.h>
#include <stdio.h>
#include <string.h>
#include "kernels.h"

static int failed(int where) {
    const char *error = kiln_kernels_last_error();
    printf("%d: %s\n", where, error ? error : "no error");
    return where;
}

static int says(const char *text) {
    const char *error = kiln_kernels_last_error();
    return error && strstr(error, text);
}

int main(void) {
    float x[2000], y[2000];
    for (int i = 0; i < 2000; i++) x[i] = (float)(i % 7);
    int64_t dims[2] = {2, 1000};
    kiln_tensor tx = {x, KILN_F32, 2, dims, NULL}, ty = {y, KILN_F32, 2, dims, NULL};
    if (kiln_softmax(&tx, &ty) != 0) return failed(1);
    double sum = 0;
    for (int i = 0; i < 1000; i++) sum += y[i];
    if (fabs(sum - 1.0) > 1e-5) return failed(2);

    /* Strides: every other element, backwards. A scalar that is given, and one that keeps its default. */
    int64_t n[1] = {1000}, step[1] = {-2};
    kiln_tensor back = {x + 1998, KILN_F32, 1, n, step}, out = {y, KILN_F32, 1, n, NULL};
    float factor = 10.0f;
    if (kiln_scale(&back, &out, &factor) != 0) return failed(3);
    if (y[0] != 10.0f * x[1998] || y[999] != 10.0f * x[0]) return failed(4);
    if (kiln_scale(&back, &out, NULL) != 0 || y[0] != x[1998]) return failed(5);

    /* Two tensors in one array: beside each other, and the same. */
    kiln_tensor front = {y, KILN_F32, 1, n, NULL}, rest = {y + 1000, KILN_F32, 1, n, NULL};
    for (int i = 0; i < 2000; i++) y[i] = (float)i;
    if (kiln_twice(&front, &rest) != 0 || y[1] != 1003.0f || y[1001] != 1001.0f) return failed(6);
    if (kiln_twice(&front, &front) == 0 || !says("K1009")) return failed(7);
    factor = 3.0f;
    if (kiln_scale(&front, &front, &factor) != 0 || y[1] != 3009.0f) return failed(7);

    /* Names that are words of C. */
    if (kiln_words(&out, 21.0f, NULL) != 0 || y[999] != 21.0f) return failed(18);

    /* Mistakes are messages. */
    kiln_tensor none = {NULL, KILN_F32, 1, n, NULL};
    if (kiln_scale(&none, &out, NULL) == 0 || !says("NULL")) return failed(8);
    if (kiln_scale(NULL, &out, NULL) == 0 || !says("`x`")) return failed(9);
    kiln_tensor untyped = {x, 99, 1, n, NULL}, deep = {x, KILN_F32, 1000, dims, NULL}, shapeless = {x, KILN_F32, 1, NULL, NULL};
    if (kiln_scale(&untyped, &out, NULL) == 0 || !says("99")) return failed(10);
    if (kiln_scale(&deep, &out, NULL) == 0 || !says("1000 dimensions")) return failed(11);
    if (kiln_scale(&shapeless, &out, NULL) == 0 || !says("`dims` is NULL")) return failed(12);
    int64_t huge[2] = {INT64_MAX, INT64_MAX}, far[2] = {INT64_MIN, INT64_MAX}, least[2] = {INT64_MIN, 2};
    kiln_tensor large = {x, KILN_F32, 2, huge, NULL}, wide = {x, KILN_F32, 2, dims, far}, negative = {x, KILN_F32, 2, least, NULL};
    if (kiln_softmax(&large, &ty) == 0 || !says("does not fit in memory")) return failed(13);
    if (kiln_softmax(&wide, &ty) == 0 || !says("does not fit in memory")) return failed(14);
    if (kiln_softmax(&negative, &ty) == 0 || !says("negative")) return failed(15);
    int64_t bytes[1] = {1999};
    kiln_tensor odd = {(char *)x + 1, KILN_F32, 1, bytes, NULL};
    if (kiln_scale(&odd, &out, NULL) == 0 || !says("aligned")) return failed(16);

    /* None is left behind. No elements need no memory. */
    n[0] = 0;
    if (kiln_scale(&none, &none, NULL) != 0 || kiln_kernels_last_error() != NULL) return failed(17);
    puts("C is content");
    return 0;
}
