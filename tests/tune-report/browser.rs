//! The report as a browser draws it: without an error, and with the figures of the JSON.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Place, text};

/// A browser without a window, if one is installed: what `CHROMIUM` names, else a Chromium on the search path.
pub fn find() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CHROMIUM") {
        return Some(named.into());
    }
    let names = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome"];
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name))).find(|file| file.is_file())
}

/// The document after its script has run.
fn rendered(browser: &Path, place: &Place, page: &str) -> Result<String, String> {
    let url = format!("file://{}", place.path(page).display());
    let flags =
        ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=5000", "--dump-dom"];
    let profile = format!("--user-data-dir={}", place.path("profile").display());
    let output = place.command(browser).args(flags).arg(profile).arg(url).output().map_err(|e| e.to_string())?;
    let document = text(&output.stdout);
    if document.contains("</html>") { Ok(document) } else { Err(format!("{document}\n{}", text(&output.stderr))) }
}

/// The value of an attribute in a tag.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    rest.split('"').next()
}

/// Tags of one kind that have an attribute, with the text behind each.
fn tags<'a>(document: &'a str, kind: &str, has: &str) -> Vec<(&'a str, &'a str)> {
    let open = format!("<{kind} ");
    let pieces = document.split(open.as_str()).skip(1);
    let found = pieces.filter_map(|piece| {
        let (tag, rest) = piece.split_once('>')?;
        // A blank in front, so that names are found as a whole.
        Some((&piece[..tag.len()], rest.split('<').next().unwrap_or_default()))
    });
    found.filter(|(tag, _)| format!(" {tag}").contains(&format!(" {has}="))).collect()
}

fn number(tag: &str, name: &str) -> Option<f64> {
    attribute(&format!(" {tag}"), name)?.parse().ok()
}

/// A time as the page writes it: four digits.
fn shown(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s >= 1.0 => (s, "s"),
        s if s >= 1e-3 => (s * 1e3, "ms"),
        s => (s * 1e6, "µs"),
    };
    let digits = (4 - 1 - value.abs().log10().floor() as i32).max(0) as usize;
    format!("{value:.digits$} {unit}")
}

fn check(condition: bool, what: impl Fn() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(what()) }
}

/// Every figure of the table, the cards, the heat map and the throughput plot against the JSON.
fn agrees(document: &str, report: &Value) -> Result<(), String> {
    let body = document.split("<body").nth(1).ok_or("no body")?;
    let head = body.split('>').next().unwrap_or_default();
    check(!head.contains("data-error"), || format!("the page reports an error: {head}"))?;
    let sizes = report["sizes"].as_array().ok_or("no sizes")?;
    check(attribute(head, "data-rendered") == Some(&sizes.len().to_string()), || format!("not all is drawn: {head}"))?;
    let drawn = body.split("</script>").nth(1).unwrap_or_default();
    let sections: Vec<&str> = drawn.split("<section ").skip(1).collect();
    check(sections.len() == sizes.len(), || format!("{} sections of {}", sections.len(), sizes.len()))?;
    for (section, size) in sections.iter().zip(sizes) {
        let trials = size["trials"].as_array().ok_or("no trials")?;
        let rows: Vec<&str> = section.split("<tr data-trial=\"").skip(1).collect();
        check(rows.len() == trials.len(), || format!("{} rows of {}", rows.len(), trials.len()))?;
        for row in rows {
            let trial: usize = row.split('"').next().and_then(|n| n.parse().ok()).ok_or("a row without a number")?;
            let trial = &trials[trial];
            for (name, of) in [
                ("median", &trial["timing"]["median"]),
                ("low", &trial["timing"]["low"]),
                ("high", &trial["timing"]["high"]),
                ("model", &trial["predicted"]),
            ] {
                let cell =
                    tags(row, "td", "data-k").into_iter().find(|(tag, _)| attribute(&format!(" {tag}"), "data-k") == Some(name));
                let (tag, shown_text) = cell.ok_or_else(|| format!("no cell {name}"))?;
                check(number(tag, "data-v") == of.as_f64(), || format!("{name}: {tag} is not {of}"))?;
                if let Some(value) = of.as_f64() {
                    check(shown_text == shown(value), || {
                        format!("{name}: `{shown_text}` stands for {value}, not `{}`", shown(value))
                    })?;
                }
            }
            for (name, value) in trial["config"].as_object().ok_or("no config")? {
                let cell =
                    tags(row, "td", "data-k").into_iter().find(|(tag, _)| attribute(&format!(" {tag}"), "data-k") == Some(name));
                check(cell.is_some_and(|(tag, _)| number(tag, "data-v") == value.as_f64()), || format!("{name} of {trial}"))?;
            }
        }
        let winner = size["winner"].as_u64().ok_or("no winner")? as usize;
        let best = &trials[winner]["timing"]["median"];
        let card =
            tags(section, "b", "data-k").into_iter().find(|(tag, _)| tag.contains("data-k=\"median\"")).ok_or("no card")?;
        check(number(card.0, "data-v") == best.as_f64(), || format!("the winner's time is {best}, not {}", card.0))?;
        // Every cell of the heat map is the least of its configurations.
        let heat = section.split("class=\"heat\"").nth(1).ok_or("no heat map")?.split("</svg>").next().unwrap_or_default();
        let cells = tags(heat, "rect", "data-v");
        check(cells.len() > 1, || "the heat map is empty".to_owned())?;
        let names: Vec<&str> = section.split("<option value=\"").skip(1).filter_map(|o| o.split('"').next()).collect();
        let (across, down) = (names.first().copied().ok_or("no axes")?, names.get(1).copied().ok_or("one axis")?);
        for (tag, _) in cells {
            let of = |trial: &&Value| {
                trial["config"][across].as_f64() == number(tag, "data-x")
                    && trial["config"][down].as_f64() == number(tag, "data-y")
            };
            let times = trials.iter().filter(of).filter_map(|t| t["timing"]["median"].as_f64());
            let least = times.fold(f64::INFINITY, f64::min);
            check(number(tag, "data-v") == Some(least), || format!("heat map: {tag} is not {least}"))?;
        }
    }
    let plot = drawn.split("id=\"throughput\"").nth(1).ok_or("no throughput")?.split("</svg>").next().unwrap_or_default();
    for (n, size) in sizes.iter().enumerate() {
        let (flops, bytes) = (size["flops"].as_f64().unwrap_or(0.0), size["bytes"].as_f64().unwrap_or(0.0));
        let work = if flops / bytes > 2.0 { flops } else { bytes };
        let best = size["trials"][size["winner"].as_u64().unwrap_or(0) as usize]["timing"]["median"].as_f64().unwrap_or(0.0);
        let mut series = vec![("tuned".to_owned(), work / best)];
        series.extend(size["defaults"]["median"].as_f64().map(|t| ("defaults".to_owned(), work / t)));
        for peer in report["peers"].as_array().ok_or("no peers")?.iter().filter(|p| p["dims"] == size["dims"]) {
            series.push((peer["name"].as_str().unwrap_or_default().to_owned(), work / peer["seconds"].as_f64().unwrap_or(0.0)));
        }
        for (name, value) in series {
            let point = tags(plot, "circle", "data-v")
                .into_iter()
                .find(|(tag, _)| tag.contains(&format!("data-series=\"{name}\"")) && tag.contains(&format!("data-size=\"{n}\"")));
            let found = point.and_then(|(tag, _)| number(tag, "data-v"));
            check(found.is_some_and(|v| (v - value).abs() <= 1e-9 * value), || {
                format!("{name}, size {n}: {found:?} is not {value}")
            })?;
        }
    }
    // Nothing from outside.
    check(!document.contains("src=\"") && !document.contains("href=\""), || "the page refers to something outside".to_owned())
}

fn report(browser: &Path, args: &[&str], source: &str) -> Result<Value, String> {
    let place = Place::make();
    place.write("k.kiln", source);
    place.write("peers.json", r#"[{"name": "another", "dims": {"N": 4096}, "seconds": 0.00002}]"#);
    place.kiln(&[&["tune", "k.kiln", "--json", "k.json", "--html", "k.html", "--peers", "peers.json"], args].concat())?;
    let json = std::fs::read(place.path("k.json")).map_err(|e| e.to_string())?;
    let report: Value = serde_json::from_slice(&json).map_err(|e| e.to_string())?;
    let document = rendered(browser, &place, "k.html")?;
    agrees(&document, &report)?;
    let predicted = report["objective"] == "predicted";
    check(document.contains("id=\"prediction\"") == predicted, || "a prediction has to say that it is one".to_owned())?;
    Ok(report)
}

/// A sweep with a clock, of two sizes, with configurations that are out, and a peer.
pub fn measured(browser: &Path) -> Result<(), String> {
    let source = "#[tune(B = [4, 16, 64, 3], W = [1, 2], if B * W < 128, key = [N])]
kernel k<const B: int = 4, const W: int = 1>(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, B)] requires B != 3 {
    let n = program_id(0) * B;
    y[n..+B] = x[n..+B] * 2.0;
}";
    let args = ["--sizes", "4096;8192", "--strategy", "exhaustive", "--seconds", "0.02"];
    let report = report(browser, &args, source)?;
    let out = report["sizes"][0]["trials"].as_array().ok_or("no trials")?.iter().filter(|t| t["status"] == "condition").count();
    check(out == 3, || format!("{out} are out"))
}

/// A prediction by the emulator.
pub fn predicted(browser: &Path) -> Result<(), String> {
    let source = "#[tune(B = [32, 64, 128], warps = [1, 2])]
kernel k<const B: int = 32>(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, B)] {
    let n = program_id(0) * B;
    y[n..+B] = x[n..+B] * 2.0;
}";
    let args = ["--sizes", "4096", "--strategy", "exhaustive", "--device", "emulator:sm_90a,unchecked"];
    report(browser, &args, source).map(drop)
}
