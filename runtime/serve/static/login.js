// Says why the form is shown again.
const why = document.getElementById("why");
const reasons = { "?wrong": "That is not the token.", "?limited": "Too many wrong tokens; wait a minute." };
if (location.search in reasons) {
  why.textContent = reasons[location.search];
  why.hidden = false;
}
