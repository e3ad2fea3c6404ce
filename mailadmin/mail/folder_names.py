"""Names of folders in many languages: data for `special_use.py`, one name between two bars."""

from mailadmin.mail.types import Role

# Names as mail programs and providers create them, in the order en de fr es pt it nl sv da no fi is pl cs sk sl hr sr
# hu ro tr el bg ru uk et lv lt ca eu he ar fa hi th vi id ja zh ko; then sq mk be hy ka az kk ms bn ta, and what single
# providers call them.
NAMES_OF_ROLES = {
    Role.SENT: """
        sent|sent items|sent mail|sent messages|sent-mail|gesendet|gesendete objekte|gesendete elemente|
        gesendete nachrichten|postausgang gesendet|envoyés|éléments envoyés|messages envoyés|courrier envoyé|
        objets envoyés|enviados|elementos enviados|correo enviado|mensajes enviados|itens enviados|e-mails enviados|
        mensagens enviadas|enviadas|inviata|inviati|posta inviata|elementi inviati|messaggi inviati|verzonden|
        verzonden items|verzonden berichten|skickat|skickade|skickade objekt|skickade meddelanden|sendt|
        sendte elementer|sendt post|sendte e-mails|sendte|sendt e-post|lähetetyt|lähetetyt viestit|sendur póstur|
        wysłane|elementy wysłane|wysłane wiadomości|odeslané|odeslaná pošta|odoslané|odoslaná pošta|poslano|
        poslana pošta|poslane stavke|послато|elküldött|elküldött elemek|elküldött üzenetek|trimise|elemente trimise|
        mesaje trimise|gönderilmiş|gönderilmiş öğeler|gönderilenler|gönderilmiş postalar|απεσταλμένα|
        απεσταλμένα στοιχεία|изпратени|изпратена поща|отправленные|отправленные письма|надіслані|відправлені|
        надіслане|saadetud|saadetud üksused|nosūtītie|nosūtītie vienumi|išsiųsti|išsiųsta|elements enviats|enviats|
        bidalitakoak|פריטים שנשלחו|נשלח|דואר יוצא|البريد المرسل|العناصر المرسلة|المرسلة|موارد ارسال شده|भेजे गए|
        รายการที่ส่ง|ส่งแล้ว|thư đã gửi|đã gửi|mục đã gửi|terkirim|item terkirim|送信済み|送信済みアイテム|
        送信済みメール|已发送|已发送邮件|已傳送|寄件備份|寄件備份匣|已寄出|已寄出郵件|发件箱备份|보낸 편지함|
        보낸편지함|보낸 메일함|보낸메일함|të dërguara|испратени|адпраўленыя|ուղարկված|გაგზავნილი|
        göndərilənlər|жіберілгендер|dihantar|item dihantar|প্রেরিত|அனுப்பியவை|sentbox|sent box|sent-items|
        saadetud kirjad|odeslané položky|verstuurd|wiadomości wysłane""",
    Role.DRAFTS: """
        drafts|draft|entwürfe|entwurf|brouillons|brouillon|borradores|borrador|rascunhos|rascunho|bozze|bozza|
        concepten|concept|utkast|kladder|kladde|udkast|luonnokset|luonnos|drög|kopie robocze|szkice|wersje robocze|
        koncepty|rozepsané|osnutki|skice|nacrti|nedovršeno|нацрти|piszkozatok|piszkozat|vázlatok|ciorne|schițe|
        taslaklar|taslak|πρόχειρα|чернови|черновики|чернетки|mustandid|melnraksti|juodraščiai|esborranys|
        zirriborroak|טיוטות|مسودات|المسودات|پیش نویس ها|ड्राफ़्ट|แบบร่าง|ฉบับร่าง|thư nháp|bản nháp|nháp|draf|
        konsep|下書き|草稿|草稿箱|草稿匣|임시 보관함|임시보관함|임시보관 메일함|skica|draftet|чарнавікі|
        սևագրեր|მონახაზები|qaralamalar|жобалар|খসড়া|வரைவுகள்|draftbox|draft box|robocze|rozpracované|черновик""",
    Role.TRASH: """
        trash|deleted|deleted items|deleted messages|bin|rubbish|wastebasket|papierkorb|gelöscht|gelöschte objekte|
        gelöschte elemente|gelöschte nachrichten|corbeille|éléments supprimés|messages supprimés|poubelle|supprimés|
        papelera|elementos eliminados|eliminados|mensajes eliminados|basura|lixeira|itens excluídos|
        itens eliminados|lixo|reciclagem|excluídos|cestino|posta eliminata|elementi eliminati|eliminati|prullenbak|
        prullenmand|verwijderde items|verwijderd|verwijderde berichten|papperskorg|papperskorgen|borttaget|
        borttagna objekt|borttagna|slettet post|slettede elementer|slettet|papirkurv|papirkurven|slettede|roskakori|
        poistetut|poistetut viestit|ruslafata|eytt|kosz|elementy usunięte|usunięte|koš|odstraněná pošta|odstraněné|
        kôš|odstránené|odstránená pošta|smetnjak|izbrisano|izbrisane stavke|smeće|otpad|отпад|lomtár|törölt elemek|
        töröltek|gunoi|coș de gunoi|coș|elemente șterse|șterse|çöp|çöp kutusu|silinmiş öğeler|silinenler|silinmiş|
        κάδος|κάδος απορριμμάτων|διαγραμμένα|διαγραμμένα στοιχεία|απορρίμματα|кошче|изтрити|корзина|удаленные|
        удалённые|удаленные элементы|кошик|видалені|видалене|prügikast|prügi|kustutatud|kustutatud üksused|atkritne|
        izdzēstie vienumi|šiukšliadėžė|šiukšlinė|ištrinti|paperera|elements suprimits|zakarrontzia|אשפה|
        פריטים שנמחקו|المهملات|العناصر المحذوفة|سلة المهملات|زباله دان|ट्रैश|ถังขยะ|รายการที่ถูกลบ|thùng rác|
        mục đã xóa|sampah|tempat sampah|item dihapus|ごみ箱|ゴミ箱|削除済みアイテム|削除済み|已删除|已删除邮件|
        垃圾桶|回收站|刪除的郵件|已刪除的郵件|휴지통|지운 편지함|지운편지함|삭제된 항목|
        koshi|të fshira|избришани|выдаленыя|сметніца|ջնջված|წაშლილი|silinənlər|жойылғандар|item dipadam|
        odstraněné položky|odstránené položky|usunięte elementy|wiadomości usunięte|törölt|slettede beskeder|
        已刪除項目""",
    Role.JUNK: """
        junk|junk e-mail|junk email|junk mail|spam|bulk mail|bulk|spamverdacht|werbung|unerwünscht|
        unerwünschte werbung|junk-e-mail|courrier indésirable|indésirables|pourriel|pourriels|spams|
        correo no deseado|no deseado|correo basura|lixo eletrônico|lixo electrónico|e-mail de lixo|
        posta indesiderata|indesiderata|ongewenste e-mail|ongewenste post|ongewenst|reclame|skräppost|skräp|
        uønsket e-mail|uønsket post|uønsket e-post|søppelpost|søppel-e-post|roskaposti|ruslpóstur|niechciana poczta|
        wiadomości-śmieci|śmieci|nevyžádaná pošta|hromadná pošta|nevyžiadaná pošta|spamy|neželena pošta|
        vsiljena pošta|neželjena pošta|bezvrijedna pošta|непожељно|levélszemét|kéretlen|nedorite|mesaje nedorite|
        e-mail nedorit|önemsiz|önemsiz e-posta|istenmeyen|gereksiz|ανεπιθύμητα|ανεπιθύμητη αλληλογραφία|
        нежелана поща|спам|нежелательная почта|небажана пошта|rämpspost|mēstules|surogātpasts|šlamštas|brukalas|
        correu brossa|zabor-posta|דואר זבל|זבל|ספאם|البريد غير الهام|البريد العشوائي|بريد غير هام|هرزنامه|स्पैम|
        อีเมลขยะ|จดหมายขยะ|thư rác|surel sampah|迷惑メール|スパム|垃圾邮件|垃圾郵件|广告邮件|垃圾信件|스팸 메일함|
        스팸메일함|스팸함|스팸|정크 메일|nevyžádané|nevyžiadané|spamverdächtig|
        të padëshiruara|несакана пошта|непажаданая пошта|სპამი|սպամ|垃圾郵件匣|垃圾箱""",
    Role.ARCHIVE: """
        archive|archives|archived|archiv|archivierte nachrichten|archivé|archivo|archivos|archivados|archivado|
        arquivo|arquivados|arquivar|archivio|archiviati|archief|arkiv|arkiverat|arkisto|safn|archiwum|archív|arhiv|
        arhiva|архива|archívum|arhivă|arşiv|arsiv|αρχειοθήκη|αρχείο|архив|архів|arhiiv|arhīvs|archyvas|arxiu|
        artxiboa|ארכיון|أرشيف|الأرشيف|بایگانی|संग्रह|เก็บถาวร|lưu trữ|arsip|アーカイブ|存档|归档|封存|已归档|보관함|
        보관""",
    Role.ALL: """
        all mail|all messages|alle nachrichten|tous les messages|todos|todo el correo|todos os e-mails|
        com tot el correu|tutti i messaggi|alle e-mails|alle berichten|all e-post|al e-mail|alle meldinger|
        kaikki viestit|wszystkie|všechny zprávy|az összes levél|toate mesajele|tüm postalar|όλα τα μηνύματα|
        вся почта|уся пошта|כל הדואר|كل البريد|すべてのメール|所有邮件|所有郵件|전체보관함""",
}

NAMES_OF_OTHER_THINGS = {
    "appointments": """
        calendar|calendars|kalender|birthdays|geburtstage|calendrier|anniversaires|calendario|cumpleaños|calendário|
        aniversários|agenda|verjaardagen|kalenteri|dagatal|kalendarz|kalendář|kalendár|koledar|kalendar|naptár|
        calendar-ul|takvim|ημερολόγιο|календар|календарь|kalendārs|kalendorius|calendari|egutegia|לוח שנה|التقويم|
        تقویم|कैलेंडर|ปฏิทิน|lịch|カレンダー|予定表|日历|行事曆|日曆|일정|캘린더|달력""",
    "contacts": """
        contacts|kontakte|adressbuch|address book|suggested contacts|vorgeschlagene kontakte|contactos|contatos|
        contatti|rubrica|contactpersonen|kontakter|kontaktpersoner|yhteystiedot|tengiliðir|kontakty|stiki|kontakti|
        névjegyek|címjegyzék|persoane de contact|kişiler|rehber|επαφές|контакти|контакты|kontaktid|kontaktpersonas|
        contactes|kontaktuak|אנשי קשר|جهات الاتصال|مخاطبین|संपर्क|รายชื่อผู้ติดต่อ|danh bạ|kontak|連絡先|联系人|
        連絡人|連絡人清單|연락처|주소록""",
    "tasks": """
        tasks|aufgaben|tâches|tareas|tarefas|attività|compiti|taken|uppgifter|opgaver|oppgaver|tehtävät|verkefni|
        zadania|úkoly|úlohy|opravila|zadaci|задаци|feladatok|activități|sarcini|görevler|εργασίες|задачи|завдання|
        ülesanded|uzdevumi|užduotys|tasques|zereginak|משימות|المهام|وظایف|कार्य|งาน|tác vụ|tugas|タスク|仕事|任务|
        工作|할 일|작업""",
    "notes": """
        notes|note|notizen|remarques|notas|notities|anteckningar|noter|notater|muistiinpanot|minnisblöð|notatki|
        poznámky|opombe|zapiski|bilješke|белешке|feljegyzések|jegyzetek|notițe|notlar|σημειώσεις|бележки|заметки|
        нотатки|примітки|märkmed|piezīmes|pastabos|oharrak|הערות|פתקים|ملاحظات|الملاحظات|یادداشت ها|नोट्स|บันทึกย่อ|
        ghi chú|catatan|メモ|便笺|備忘錄|记事|便箋|메모|노트""",
    "a journal": """
        journal|journaux|diario|diário|logboek|dagbok|päiväkirja|dziennik|deník|denník|dnevnik|napló|jurnal|günlük|
        ημερολόγιο καταγραφής|дневник|журнал|päevik|žurnāls|žurnalas|dietari|egunkaria|יומן|دفتر اليومية|ジャーナル|
        履歴|日记|日記|日誌|업무 일지""",
}
