//! The report as one web page that needs nothing else: the JSON inside, and a script that draws it.

use super::Report;

const PAGE: &str = include_str!("page.html");

/// The page.
pub fn page(report: &Report) -> String {
    let json = serde_json::to_string(report).unwrap_or_default();
    // Nothing inside may end the script element it stands in.
    let json = json.replace('<', "\\u003c");
    let title: String = format!("{} on {}", report.kernel, report.device)
        .chars()
        .map(|c| if matches!(c, '<' | '>' | '&' | '"') { ' ' } else { c })
        .collect();
    PAGE.replacen("{{TITLE}}", &title, 1).replacen("{{REPORT}}", &json, 1)
}
