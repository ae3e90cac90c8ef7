//! Kernels on tiles that no thread block has registers for: a GPU's compiler works on them in parts.

/// A kernel `k(x: tensor<f32, [M, N]>, w: tensor<f32, [N]>, y: mut tensor<f32, [M, N]>, s: mut tensor<f32, [M]>)`.
#[derive(Clone, Copy, Debug)]
pub struct Wide {
    /// What it does.
    pub name: &'static str,
    /// Statements after `let m = program_id(0);`.
    body: &'static str,
    /// Elements of a row.
    pub width: usize,
    /// Rows of the tensors.
    pub rows: usize,
    /// Programs.
    pub grid: usize,
}

impl Wide {
    /// The source text.
    pub fn source(&self) -> String {
        let (body, grid, width) = (self.body, self.grid, self.width);
        format!(
            "use std::math::exp;\nconst W: int = {width};\n\
             kernel k(x: tensor<f32, [M, N]>, w: tensor<f32, [N]>, y: mut tensor<f32, [M, N]>, s: mut tensor<f32, [M]>) grid [{grid}] {{\n    \
             let m = program_id(0);\n    {body}\n}}\n"
        )
    }
}

/// The kernels. Those that sum floats have small whole numbers to do so exactly, `softmax` apart.
pub const WIDE: [Wide; 10] = [
    Wide {
        name: "softmax",
        body: "let row = x[m, 0..+W].or(-inf);\n    let e = exp(row - max(row));\n    y[m, 0..+W] = e / sum(e);",
        width: 65536,
        rows: 2,
        grid: 2,
    },
    Wide {
        name: "moments",
        body: "let row = x[m, 0..+W];\n    let mean = sum(row);\n    let d = row * 64.0 - mean;\n    y[m, 0..+W] = d * w[0..+W] + max(d * d);\n    s[m] = mean;",
        width: 50000,
        rows: 2,
        grid: 2,
    },
    Wide {
        name: "extremes",
        body: "let row = x[m, 0..+W];\n    s[m] = argmax(row, axis = 0) as f32 * 2.0 + argmin(row, axis = 0) as f32;\n    \
               y[m, 0..+W] = select(any(row > 8.0), row, -row) + select(all(row < 100.0), 1.0, 2.0);",
        width: 40000,
        rows: 2,
        grid: 2,
    },
    Wide { name: "prefix", body: "y[m, 0..+W] = cumsum(x[m, 0..+W], axis = 0);", width: 65536, rows: 2, grid: 2 },
    Wide {
        name: "in_order",
        body: "let row = x[m, 0..+W];\n    s[m] = reduce(row, axis = 0, |a, b| select(b < 3.0, a, b));\n    y[m, 0..+W] = scan(row, axis = 0, |a, b| select(b < 0.0, a, b));",
        width: 33000,
        rows: 2,
        grid: 2,
    },
    Wide {
        name: "in_place",
        body: "let row = y[m, 0..+W];\n    y[m, 0..+W] = row + x[m, 0..+W] - max(row + w[0..+W]);\n    s[m] = max(y[m, 0..+W]);",
        width: 65536,
        rows: 2,
        grid: 2,
    },
    Wide {
        name: "atomics",
        body: "let row = x[m, 0..+W];\n    atomic_add(y[0, 0..+W], row - min(row));\n    atomic_max(s[m], sum(row));",
        width: 65536,
        rows: 2,
        grid: 2,
    },
    Wide {
        name: "rows",
        body: "let t = x[0..+64, 0..+W];\n    let total = sum(t, axis = 1);\n    y[0..+64, 0..+W] = t + total[:, None];\n    s[0..+64] = total;",
        width: 4096,
        rows: 64,
        grid: 1,
    },
    Wide {
        name: "columns",
        body: "let t = x[0..+4096, 0..+W];\n    let total = max(t, axis = 0);\n    y[0..+4096, 0..+W] = t - total[None, :];\n    s[0..+4096] = max(t, axis = 1);",
        width: 48,
        rows: 4096,
        grid: 1,
    },
    Wide {
        name: "elementwise",
        body: "let i = arange(0, W);\n    y[m, 0..+W] = select(i % 3 == 0, x[m, 0..+W], w[0..+W]) * (i as f32);",
        width: 100000,
        rows: 2,
        grid: 2,
    },
];
