//! The files of the page, which are in the program.

/// The media type and content of the file at a path below `/dashboard`.
pub(crate) fn asset(path: &str) -> Option<(&'static str, &'static str)> {
    const HTML: &str = "text/html; charset=utf-8";
    const CSS: &str = "text/css; charset=utf-8";
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    macro_rules! package {
        ($path:literal) => {
            include_str!(concat!(env!("OUT_DIR"), "/dashboard/node_modules/", $path))
        };
    }
    Some(match path {
        "" => (HTML, include_str!("../../dashboard/index.html")),
        "/style.css" => (CSS, include_str!("../../dashboard/style.css")),
        "/dashboard.mjs" => (SCRIPT, include_str!("../../dashboard/dashboard.mjs")),
        "/charts.mjs" => (SCRIPT, include_str!("../../dashboard/charts.mjs")),
        "/tables.mjs" => (SCRIPT, include_str!("../../dashboard/tables.mjs")),
        "/phoenix.mjs" => (SCRIPT, package!("phoenix/priv/static/phoenix.mjs")),
        "/uplot.js" => (SCRIPT, package!("uplot/dist/uPlot.iife.min.js")),
        "/uplot.css" => (CSS, package!("uplot/dist/uPlot.min.css")),
        _ => return None,
    })
}
