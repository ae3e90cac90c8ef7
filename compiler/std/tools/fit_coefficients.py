#!/usr/bin/env python3
"""Fits the polynomial coefficients of compiler/std/src/std/math.kiln (needs: pip install mpmath).

Each fit is a relative-error minimax by iterated reweighted least squares at Chebyshev nodes, in 60 digits; prints Kiln constants, lowest power first.
"""
import sys
from mpmath import mp, mpf, exp, log, sin, cos, tanh, erf, erfc, sqrt, pi, ln, matrix, lu_solve, expm1, log1p, inf
mp.dps = 60


def remez(f, weight, powers, a, b, iterations=12):
    """Minimax of weight(x) * (f(x) - sum c_k x^p_k) on [a, b] by the Remez exchange; returns (coefficients, error)."""
    n = len(powers)
    a, b = mpf(a), mpf(b)
    xs = [(a + b) / 2 + (b - a) / 2 * cos(pi * (n - i) / n) for i in range(n + 1)]
    coeffs, best = None, None
    for _ in range(iterations):
        A = matrix(n + 1, n + 1)
        y = matrix(n + 1, 1)
        for i, x in enumerate(xs):
            for k, p in enumerate(powers):
                A[i, k] = x ** p
            A[i, n] = (-1) ** i / weight(x)
            y[i] = f(x)
        sol = lu_solve(A, y)
        coeffs = [sol[k] for k in range(n)]
        err = lambda x: weight(x) * (f(x) - sum(c * x ** p for c, p in zip(coeffs, powers)))
        m = 40 * n
        grid = [(a + b) / 2 + (b - a) / 2 * cos(pi * (m - i) / m) for i in range(m + 1)]
        vals = [err(x) for x in grid]
        ext = []
        for x, v in zip(grid, vals):
            if ext and (v > 0) == (ext[-1][1] > 0):
                if abs(v) > abs(ext[-1][1]):
                    ext[-1] = (x, v)
            else:
                ext.append((x, v))
        while len(ext) > n + 1:
            ext.pop(0 if abs(ext[0][1]) < abs(ext[-1][1]) else -1)
        if len(ext) < n + 1:
            break
        xs = [x for x, _ in ext]
        best = max(abs(v) for _, v in ext)
    return coeffs, best


def show(name, ty, coeffs, err):
    digits = 10 if ty == "f32" else 20
    print(f"// {name}: error {mp.nstr(err, 3)}")
    for i, c in enumerate(coeffs):
        print(f"    {name}{i} = {mp.nstr(c, digits)}")


L = ln(2) / 2
Q = pi / 4 * mpf("1.0001")
one = lambda x: mpf(1)
safe = lambda g, lim: (lambda x: lim if abs(x) < mpf(10)**-18 else g(x))
FITS = {
    # e^r = 1 + r + r^2 P(r)
    "EXP_F32": ("f32", safe(lambda r: (exp(r) - 1 - r) / r**2, mpf(1) / 2), one, range(5), -L * 1.01, L * 1.01),
    "EXP_F64": ("f64", safe(lambda r: (exp(r) - 1 - r) / r**2, mpf(1) / 2), one, range(11), -L * 1.01, L * 1.01),
    # 2^r = 1 + r P(r)
    "EXP2_F32": ("f32", safe(lambda r: (mpf(2)**r - 1) / r, ln(2)), one, range(6), -0.5, 0.5),
    "EXP2_F64": ("f64", safe(lambda r: (mpf(2)**r - 1) / r, ln(2)), one, range(12), -0.5, 0.5),
    # log(1+f) = f - f^2/2 + f^3 P(f)
    "LOG_F32": ("f32", safe(lambda f: (log1p(f) - f + f * f / 2) / f**3, mpf(1) / 3), lambda f: f * f + mpf(10)**-3, range(9), sqrt(mpf(1)/2) - 1, sqrt(mpf(2)) - 1),
    # log(1+f) = 2 atanh(s), s = f/(2+f): 2s + s^3 P(s^2)
    "LOG_F64": ("f64", safe(lambda z: (log((1 + sqrt(z)) / (1 - sqrt(z))) / sqrt(z) - 2) / z, mpf(2) / 3), lambda z: z / 2 + mpf(10)**-30, range(8), 0, ((sqrt(mpf(2)) - 1) / (sqrt(mpf(2)) + 1))**2),
    # sin r = r + r^3 P(r^2); cos r = 1 - z/2 + z^2 P(z)
    "SIN_F32": ("f32", safe(lambda z: (sin(sqrt(z)) / sqrt(z) - 1) / z, -mpf(1) / 6), lambda z: z + mpf(10)**-30, range(3), 0, Q**2),
    "COS_F32": ("f32", safe(lambda z: (cos(sqrt(z)) - 1 + z / 2) / z**2, mpf(1) / 24), lambda z: z**2 + mpf(10)**-30, range(3), 0, Q**2),
    "SIN_F64": ("f64", safe(lambda z: (sin(sqrt(z)) / sqrt(z) - 1) / z, -mpf(1) / 6), lambda z: z + mpf(10)**-30, range(7), 0, Q**2),
    "COS_F64": ("f64", safe(lambda z: (cos(sqrt(z)) - 1 + z / 2) / z**2, mpf(1) / 24), lambda z: z**2 + mpf(10)**-30, range(7), 0, Q**2),
    # tanh x = x + x^3 P(x^2), |x| < 0.625
    "TANH_F32": ("f32", safe(lambda z: (tanh(sqrt(z)) / sqrt(z) - 1) / z, -mpf(1) / 3), lambda z: z + mpf(10)**-30, range(5), 0, mpf("0.625")**2),
    "TANH_F64": ("f64", safe(lambda z: (tanh(sqrt(z)) / sqrt(z) - 1) / z, -mpf(1) / 3), lambda z: z + mpf(10)**-30, range(14), 0, mpf("0.625")**2),
    # erf x = x + x P(x^2), |x| < 0.9
    "ERF_F32": ("f32", safe(lambda z: erf(sqrt(z)) / sqrt(z) - 1, 2 / sqrt(pi) - 1), one, range(7), 0, mpf("0.92")**2),
    "ERF_F64": ("f64", safe(lambda z: erf(sqrt(z)) / sqrt(z) - 1, 2 / sqrt(pi) - 1), one, range(14), 0, mpf(1)),
    # 1 - erf(x) = exp(-(x + x P(x))), 0.9 <= x <= 4
    "ERFC_F32": ("f32", lambda x: -log(erfc(x)) / x - 1, lambda x: x * erfc(x) , range(7), mpf("0.9"), mpf("4.0")),
    # erfc(x) exp(x^2) = P(t) / x', t = (x - 3) / (x + 3), as (1 + 2x) erfc(x) exp(x^2), 1 <= x <= 6
    "ERFC_F64": ("f64", lambda t: (lambda x: (1 + 2 * x) * erfc(x) * exp(x * x))(3 * (1 + t) / (1 - t)), one, range(17), mpf("-0.5"), mpf(1) / 3),
}
if __name__ == "__main__":
    for name in sys.argv[1:] or FITS:
        ty, f, w, powers, a, b = FITS[name]
        coeffs, err = remez(f, w, list(powers), a, b)
        show(name, ty, coeffs, err)
