//! A page: one HTML file that needs nothing but a browser.

use std::fmt::Write;

use crate::picture::Picture;
use crate::text::escape;

/// The page's look, in it.
const STYLE: &str = include_str!("page.css");

/// A page that grows section by section.
///
/// ```
/// use cortical_report::Page;
/// let mut page = Page::new("Iris", "a small network on three species");
/// page.figures(&[("accuracy".into(), "96.7 %".into())]);
/// page.section("Recipe").code("epochs = 40");
/// let html = page.to_html();
/// assert!(html.contains("96.7 %") && !html.contains("http"));
/// ```
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    summary: String,
    body: String,
    /// Whether a grid of charts is open.
    in_grid: bool,
}

impl Page {
    /// An empty page with a title and a line below it.
    #[must_use]
    pub fn new(title: &str, summary: &str) -> Self {
        Self {
            title: title.to_owned(),
            summary: summary.to_owned(),
            body: String::new(),
            in_grid: false,
        }
    }

    /// Figures in large type: what each is, and its value.
    pub fn figures(&mut self, figures: &[(String, String)]) -> &mut Self {
        self.close_grid();
        self.body.push_str("<div class=\"figures\">");
        for (name, value) in figures {
            // Writing to a string cannot fail.
            let _ = write!(
                self.body,
                "<div class=\"figure\"><b>{}</b><span>{}</span></div>",
                escape(value),
                escape(name)
            );
        }
        self.body.push_str("</div>");
        self
    }

    /// Begins a section.
    pub fn section(&mut self, title: &str) -> &mut Self {
        self.close_grid();
        let _ = write!(self.body, "<h2>{}</h2>", escape(title));
        self
    }

    /// A few sentences.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.close_grid();
        let _ = write!(self.body, "<p>{}</p>", escape(text));
        self
    }

    /// A chart of this crate, two beside each other where there is room.
    pub fn chart(&mut self, svg: &str) -> &mut Self {
        if !self.in_grid {
            self.body.push_str("<div class=\"grid2\">");
            self.in_grid = true;
        }
        let _ = write!(self.body, "<div class=\"card\">{svg}</div>");
        self
    }

    /// A chart of this crate by itself.
    pub fn wide(&mut self, svg: &str) -> &mut Self {
        self.close_grid();
        let _ = write!(self.body, "<div class=\"card\">{svg}</div>");
        self
    }

    /// Pictures with a line in bold and one below; `small` ones stand closer.
    pub fn pictures(&mut self, pictures: &[(Picture, String, String)], small: bool) -> &mut Self {
        self.close_grid();
        let class = if small { "pictures small" } else { "pictures" };
        let _ = write!(self.body, "<div class=\"{class}\">");
        for (picture, title, remark) in pictures {
            let _ = write!(
                self.body,
                "<figure><img alt=\"{title}\" src=\"{}\"/>",
                picture.to_data_url(),
                title = escape(title),
            );
            if !title.is_empty() {
                let _ = write!(self.body, "<b>{}</b><br/>", escape(title));
            }
            let _ = write!(self.body, "{}</figure>", escape(remark));
        }
        self.body.push_str("</div>");
        self
    }

    /// A table; columns whose head begins with `#` hold numbers and stand on the right.
    pub fn table(&mut self, head: &[&str], rows: &[Vec<String>]) -> &mut Self {
        self.close_grid();
        self.body.push_str("<div class=\"card\"><table><tr>");
        let is_number = |i: usize| head.get(i).is_some_and(|name| name.starts_with('#'));
        let class = |i: usize| if is_number(i) { " class=\"n\"" } else { "" };
        for (i, name) in head.iter().enumerate() {
            let name = escape(name.trim_start_matches('#'));
            let _ = write!(self.body, "<th{}>{name}</th>", class(i));
        }
        self.body.push_str("</tr>");
        for row in rows {
            self.body.push_str("<tr>");
            for (i, cell) in row.iter().enumerate() {
                let _ = write!(self.body, "<td{}>{}</td>", class(i), escape(cell));
            }
            self.body.push_str("</tr>");
        }
        self.body.push_str("</table></div>");
        self
    }

    /// A text in which every space counts.
    pub fn code(&mut self, text: &str) -> &mut Self {
        self.close_grid();
        let _ = write!(
            self.body,
            "<div class=\"card\"><pre>{}</pre></div>",
            escape(text)
        );
        self
    }

    fn close_grid(&mut self) {
        if self.in_grid {
            self.body.push_str("</div>");
            self.in_grid = false;
        }
    }

    /// The whole file.
    #[must_use]
    pub fn to_html(&self) -> String {
        let end = if self.in_grid { "</div>" } else { "" };
        let (title, summary) = (escape(&self.title), escape(&self.summary));
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/><title>{title}</title>\n<style>\n{STYLE}</style></head>\n<body><main><header><h1>{title}</h1><p>{summary}</p></header>{}{end}<footer>Written by Cortical. This file needs no network.</footer></main></body></html>\n",
            self.body
        )
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{Histogram, LineChart, Matrix, Series};

    /// Every element that is opened is closed, in order, and no text breaks out of its place.
    pub(crate) fn assert_well_formed(markup: &str) {
        let mut open = Vec::new();
        for part in markup.split('<').skip(1) {
            let (tag, _) = part.split_once('>').expect("every tag ends");
            assert_eq!(tag.matches('"').count() % 2, 0, "quotes pair up: {tag}");
            if tag.starts_with('!') || tag.ends_with('/') {
                continue;
            }
            let name = tag.split_whitespace().next().expect("a tag has a name");
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name), "{markup}"),
                None => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?} stay open");
    }

    #[test]
    fn a_page_of_everything_is_well_formed_and_stands_alone() {
        let nasty = "</script><img src=\"http&colon;//x\">&";
        let mut page = Page::new(nasty, nasty);
        let curve = Series::new(nasty, [(0.0, 1.0), (1.0, 2.0)]);
        page.figures(&[(nasty.to_owned(), nasty.to_owned())])
            .section(nasty)
            .text(nasty)
            .chart(&LineChart::new(nasty, nasty).series(curve).to_svg())
            .chart(&Histogram::new(nasty, &[1.0], 4).to_svg())
            .wide(&Matrix::new(&[nasty.to_owned()], &[vec![1]]).to_svg())
            .table(&[nasty, "#n"], &[vec![nasty.to_owned(), "1".to_owned()]])
            .code(nasty);
        let picture = Picture::grey(1, 1, &[0]).unwrap();
        page.pictures(&[(picture, nasty.to_owned(), nasty.to_owned())], true);
        page.section("open grid").chart("<svg></svg>");
        let html = page.to_html();
        let body = html.split_once("</style>").unwrap().1;
        assert_well_formed(&body.replace("</head>", "").replace("</html>", ""));
        assert!(!html.contains("http") || html.contains("http&amp;colon;"));
        assert!(!body.contains("<script") && !body.contains("src=\"http"));
        assert_eq!(html, page.to_html());
    }
}
